/** Contestants as processes. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** @typedef {import("./load.mjs").Outcome} Outcome */

/** A server that runs. */
export class ServerProcess {
  #child;

  constructor(child, port) {
    this.#child = child;
    this.port = port;
  }

  /**
   * @param {import("./servers/main.mjs").ServerSettings} settings
   * @param {{ core?: string, profileFolder?: string }} [how] on the only core that it may use, and with a CPU profile that it
   * leaves at its end
   */
  static async start(settings, { core, profileFolder } = {}) {
    const program = fileURLToPath(new URL("servers/main.mjs", import.meta.url));
    const node = profileFolder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`];
    const child = fork(program, [JSON.stringify(settings)], {
      env: { ...process.env, NODE_ENV: "production" },
      ...(core === undefined
        ? { execArgv: node }
        : { execPath: "taskset", execArgv: ["--cpu-list", core, process.execPath, ...node] }),
    });
    const { port } = await nextMessage(child);
    return new ServerProcess(child, port);
  }

  get pid() {
    return this.#child.pid;
  }

  /** @returns {Promise<{ cpu: NodeJS.CpuUsage, memory: NodeJS.MemoryUsage }>} what it has used until now, and uses now */
  usage() {
    const answer = nextMessage(this.#child);
    this.#child.send("usage");
    return answer;
  }

  async end() {
    const gone = once(this.#child, "exit");
    // It ends when it sees that, and writes its profile.
    this.#child.disconnect();
    await gone;
  }
}

async function nextMessage(child) {
  const aborted = new AbortController();
  const { signal } = aborted;
  try {
    const exited = once(child, "exit", { signal }).then(() => {
      throw new Error("a server has ended");
    });
    const [message] = await Promise.race([once(child, "message", { signal }), exited]);
    return message;
  } finally {
    aborted.abort();
  }
}

/**
 * Begins sessions.
 * @param {ServerProcess} server
 * @param {"small" | "large"} size
 * @param {number} count
 * @param {number} [atOnce] how many at a time. Few, so that a server's first requests do not meet it cold all together: see
 * docs/performance.md for what comes of that
 * @returns {Promise<string[]>} their Cookie headers
 */
export async function logIn({ port }, size, count, atOnce = 4) {
  const cookies = [];
  while (cookies.length < count) {
    const visits = Array.from({ length: Math.min(atOnce, count - cookies.length) }, () =>
      logInOnce(port, size),
    );
    cookies.push(...(await Promise.all(visits)));
  }
  return cookies;
}

async function logInOnce(port, size) {
  const response = await fetch(`http://127.0.0.1:${port}/log-in/${size}`, { method: "POST" });
  const body = await response.text();
  if (!response.ok) throw new Error(`a log-in was answered with ${response.status}: ${body}`);
  const cookies = response.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
  // Servers without sessions get as many bytes to read.
  return cookies.join("; ") || `sid=${"0".repeat(96)}`;
}

/** Throws where a request failed. @param {Outcome} outcome @param {string} what */
export function checkAnswered({ failed, firstFailure }, what) {
  if (failed > 0) throw new Error(`${what}: ${failed} requests failed, the first with\n${firstFailure}`);
}
