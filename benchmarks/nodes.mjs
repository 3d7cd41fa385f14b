import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/**
 * A storage node of this run's own.
 * @typedef {object} Node
 * @property {"memcached" | "redis-server"} program
 * @property {string} url
 * @property {number} port of 127.0.0.1
 * @property {number} pid
 * @property {() => Promise<void>} end
 */

/** What can be started, by the name of its program. */
const programs = {
  memcached: {
    args: (port) => ["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-m", "1024", ...asRoot()],
    url: (port) => `127.0.0.1:${port}`,
  },
  "redis-server": {
    args: (port) => ["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--appendonly", "no"],
    url: (port) => `redis://127.0.0.1:${port}`,
  },
};

/**
 * Starts a node, which keeps nothing on disk.
 * @param {keyof typeof programs} program
 * @returns {Promise<Node | undefined>} undefined where the program is not installed
 */
export async function startNode(program) {
  const { args, url } = programs[program];
  const port = await freePort();
  const child = spawn(program, args(port), { stdio: ["ignore", "ignore", "inherit"] });
  // A run that breaks off leaves nothing behind.
  const kill = () => child.kill();
  process.once("exit", kill);
  let isGone = false;
  const gone = new Promise((resolve) => {
    child.once("error", resolve);
    child.once("close", resolve);
  }).then(() => {
    isGone = true;
  });
  while (!isGone && !(await takesConnections(port))) await pause(20);
  if (isGone) return undefined;
  return {
    program,
    url: url(port),
    port,
    pid: child.pid ?? 0,
    async end() {
      process.removeListener("exit", kill);
      kill();
      await gone;
    },
  };
}

/** @returns {Promise<string[]>} the programs that are not installed */
export async function missingPrograms() {
  const missing = [];
  for (const program of Object.keys(programs)) {
    const node = await startNode(program);
    if (node === undefined) missing.push(program);
    await node?.end();
  }
  return missing;
}

/** memcached refuses to run as root unless it is told the user to become. */
const asRoot = () => (process.getuid?.() === 0 ? ["-u", "root"] : []);

/** @param {number} port */
async function takesConnections(port) {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}
