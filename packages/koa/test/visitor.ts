/** What a visitor was answered. */
interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** The Set-Cookie headers. */
  readonly set: readonly string[];
}

/** Asks an application as one browser would: keeps cookies until they expire, follows no redirect. */
export interface Visitor {
  (path: string, headers?: Record<string, string>): Promise<Answer>;
  /** What the browser sends, by name. */
  readonly cookies: Map<string, string>;
}

/** Makes a browser without cookies. */
export function visitor(url: string, cookies: Iterable<readonly [string, string]> = []): Visitor {
  const jar = new Map(cookies);
  const ask = async (path: string, headers: Record<string, string> = {}): Promise<Answer> => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url + path, {
      redirect: "manual",
      headers: { ...(cookie === "" ? {} : { cookie }), ...headers },
    });
    const set = answer.headers.getSetCookie();
    for (const header of set) take(jar, header);
    return { status: answer.status, headers: answer.headers, body: await answer.text(), set };
  };
  return Object.assign(ask, { cookies: jar });
}

function take(jar: Map<string, string>, header: string): void {
  const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(header) ?? [];
  if (/max-age=0|expires=Thu, 01 Jan 1970/i.test(header)) jar.delete(name);
  else jar.set(name, value);
}
