import { request } from "node:http";

/** What came back; undefined status where the connection broke before an answer. */
export interface Answer {
  readonly status: number | undefined;
  readonly body: string;
  readonly servedBy: string | undefined;
}

/** A click on the counter: the number it gave, or why it gave none. */
export type Click =
  | { readonly kind: "counted"; readonly counter: number }
  | { readonly kind: "unanswered"; readonly why: string };

/** A person with a browser: keeps cookies, does one thing after the other. */
export class Visitor {
  readonly #url: string;
  readonly #cookies = new Map<string, string>();

  constructor(url: string) {
    this.#url = url;
  }

  /** The process that the session cookie names; undefined in non-sticky mode, and before there is a cookie. */
  get route(): string | undefined {
    return this.#cookies.get("sid")?.split(".")[1];
  }

  /** The node that the session cookie names. */
  get node(): string | undefined {
    return this.#cookies.get("sid")?.split("-")[1];
  }

  get = (path: string): Promise<Answer> => this.#ask("GET", path);

  post = (path: string): Promise<Answer> => this.#ask("POST", path);

  /** Clicks on the counter. `delayMs` passes in the application between reading and writing. */
  async click({ delayMs = 0 }: { delayMs?: number } = {}): Promise<Click> {
    const { status, body } = await this.get(`/counter?delay=${delayMs}`);
    if (status !== 200) return { kind: "unanswered", why: `${status ?? "no answer"}: ${body.trim()}` };
    const { counter } = JSON.parse(body) as { counter: number };
    return { kind: "counted", counter };
  }

  #ask(method: string, path: string): Promise<Answer> {
    return new Promise((resolve) => {
      const broken = (error: Error) =>
        resolve({ status: undefined, body: error.message, servedBy: undefined });
      const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
      const headers = { accept: "application/json", ...(cookie === "" ? {} : { cookie }) };
      const asking = request(new URL(path, this.#url), { method, headers, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", broken);
        response.on("end", () => {
          this.#keep(response.headers["set-cookie"] ?? []);
          const servedBy = response.headers["x-served-by"];
          resolve({
            status: response.statusCode,
            body: Buffer.concat(chunks).toString(),
            servedBy: typeof servedBy === "string" ? servedBy : undefined,
          });
        });
      });
      asking.on("error", broken);
      asking.end();
    });
  }

  #keep(setCookies: readonly string[]): void {
    for (const setCookie of setCookies) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(setCookie) ?? [];
      if (name === undefined || value === undefined) continue;
      if (value === "" || /;\s*max-age=0/i.test(setCookie)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }
}
