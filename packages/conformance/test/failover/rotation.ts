import { request } from "node:http";
import { pause } from "../../src/index.js";

/** A process behind the balancer. */
export interface Server {
  readonly route: string;
  readonly port: number;
}

/** What a client got. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly setCookie: string | undefined;
}

/**
 * Sends each request to the process that its cookie names, or to any; asks each of them for /health, and leaves out those
 * that do not answer 200. Where no connection could be made it tries the next one; what was sent is never sent again.
 */
export interface Rotation {
  send(method: string, path: string, cookie: string | undefined): Promise<Answer>;
  /** Whether requests go to that process. */
  has(route: string): boolean;
  close(): Promise<void>;
}

const checkEveryMs = 100;

/** Starts to balance between processes; none gets a request before it is healthy. */
export function startRotation(servers: readonly Server[]): Rotation {
  const healthy = new Set<Server>();
  let isClosed = false;
  let turn = 0;
  const checks = servers.map(keepChecking);

  return {
    has: (route) => [...healthy].some((server) => server.route === route),
    async send(method, path, cookie) {
      const own = [...healthy].find(({ route }) => cookie?.endsWith(`.${route}`));
      const others = servers.filter((server) => server !== own && healthy.has(server));
      const next = others.length === 0 ? [] : others.map((_, at) => others[(turn + at) % others.length]!);
      turn++;
      for (const server of [...(own === undefined ? [] : [own]), ...next]) {
        try {
          return await ask(server, method, path, cookie);
        } catch (error) {
          if (!isRefusal(error)) throw error;
          healthy.delete(server);
        }
      }
      throw new Error("there is no process to send it to");
    },
    async close() {
      isClosed = true;
      await Promise.all(checks);
    },
  };

  async function keepChecking(server: Server): Promise<void> {
    while (!isClosed) {
      const status = await ask(server, "GET", "/health", undefined).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) healthy.add(server);
      else healthy.delete(server);
      await pause(checkEveryMs);
    }
  }
}

const isRefusal = (error: unknown) =>
  error instanceof Error && "code" in error && error.code === "ECONNREFUSED";

function ask({ port }: Server, method: string, path: string, cookie: string | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = cookie === undefined ? {} : { cookie };
    const asked = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", reject);
      response.on("end", () => {
        const [setCookie] = response.headers["set-cookie"] ?? [];
        resolve({ status: response.statusCode ?? 0, text, setCookie });
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}
