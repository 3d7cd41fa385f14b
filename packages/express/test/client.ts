/** What a client is told. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  /** The Set-Cookie headers. */
  readonly set: readonly string[];
}

/** A client that keeps its cookies, and follows no redirect. */
export class Client {
  readonly url: string;
  readonly #cookies = new Map<string, string>();

  constructor(url: string) {
    this.url = url;
  }

  async get(path = "/", init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(this.url + path, {
      redirect: "manual",
      ...init,
      headers: { ...(this.cookie === "" ? {} : { cookie: this.cookie }), ...init.headers },
    });
    const set = response.headers.getSetCookie();
    for (const cookie of set) this.#keep(cookie);
    return { status: response.status, text: await response.text(), headers: response.headers, set };
  }

  /** The Cookie header. */
  get cookie(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  /** Takes over the cookies of another client, or adds one: `name=value`. */
  take(cookies: string): this {
    for (const cookie of cookies.split("; ")) this.#keep(cookie);
    return this;
  }

  #keep(cookie: string): void {
    const pair = cookie.split(";", 1)[0]!;
    const equals = pair.indexOf("=");
    const name = pair.slice(0, equals);
    if (/Max-Age=0(;|$)/i.test(cookie)) this.#cookies.delete(name);
    else this.#cookies.set(name, pair.slice(equals + 1));
  }
}
