import type { FastifyInstance, LightMyRequestResponse } from "fastify";

/** What one request is sent with. */
interface Visit {
  readonly headers?: Record<string, string>;
  /** Whether a proxy says that the client spoke TLS. Default true. */
  readonly secure?: boolean;
}

/** A client that keeps its cookies, decoded, as a browser would, and speaks TLS to a proxy that the application trusts. */
export class Visitor {
  readonly cookies = new Map<string, string>();
  readonly #app: FastifyInstance;

  constructor(app: FastifyInstance) {
    this.#app = app;
  }

  async get(url: string, { headers = {}, secure = true }: Visit = {}): Promise<LightMyRequestResponse> {
    const pairs = [...this.cookies].map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const cookie = pairs.join("; ");
    const answer = await this.#app.inject({
      url,
      headers: { "x-forwarded-proto": secure ? "https" : "http", ...(cookie && { cookie }), ...headers },
    });
    for (const header of setCookies(answer)) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(header) ?? [];
      if (value === "") this.cookies.delete(name);
      else this.cookies.set(name, decodeURIComponent(value));
    }
    return answer;
  }
}

/** The Set-Cookie headers of an answer. */
export const setCookies = (answer: LightMyRequestResponse): string[] =>
  [answer.headers["set-cookie"] ?? []].flat();
