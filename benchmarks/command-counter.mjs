/** How many commands storage nodes were sent, by their own statistics. */
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/**
 * Redis counts what scripts call as if it had been sent. These are called by msm's scripts: where any script ran, they do
 * not count, as no way of msm sends them besides.
 */
const calledByScripts = new Set(["get", "set", "del", "getrange", "pexpire", "pttl", "publish"]);

/** Scripts, by the commands that run them. */
const scripts = new Set(["eval", "evalsha", "evalsha_ro", "eval_ro", "fcall", "fcall_ro"]);

/** What says nothing of a session: greetings, health probes, and the questions that are asked here. */
const background = new Set([
  "ping",
  "info",
  "hello",
  "client",
  "auth",
  "select",
  "config",
  "command",
  "script",
]);

const kinds = {
  "redis-server": { question: "INFO commandstats\r\n", isWhole: isWholeBulk, count: countRedis },
  memcached: { question: "stats\r\n", isWhole: (text) => text.endsWith("END\r\n"), count: countMemcached },
};

/** Counts the commands that reach some nodes. Whoever has them to himself knows what is his. */
export class CommandCounter {
  #nodes;
  #last = [];

  constructor(nodes) {
    this.#nodes = nodes;
  }

  /** @param {readonly import("./nodes.mjs").Node[]} nodes */
  static async connect(nodes) {
    return new CommandCounter(await Promise.all(nodes.map(connectTo)));
  }

  /** Counts from here on. */
  async begin() {
    this.#last = await this.#settled();
  }

  /** @returns {Promise<number>} commands since `begin()` */
  async commands() {
    const now = await this.#settled();
    const counts = this.#nodes.map(({ kind }, index) => kind.count(now[index], this.#last[index]));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  end() {
    for (const { socket } of this.#nodes) socket.destroy();
  }

  /** What is done behind an answer, such as giving back a lease, is still to come when the answer is there. */
  async #settled() {
    let [before, now] = [undefined, await this.#ask()];
    for (let tries = 0; tries < 20 && !isSame(before, now); tries += 1) {
      await pause(2);
      [before, now] = [now, await this.#ask()];
    }
    return now;
  }

  #ask() {
    return Promise.all(this.#nodes.map(ask));
  }
}

const isSame = (before, now) =>
  before?.every((calls, index) =>
    Object.entries(now[index]).every(([name, count]) => background.has(name) || calls[name] === count),
  ) ?? false;

async function connectTo({ program, port }) {
  const socket = connect(port, "127.0.0.1").setEncoding("latin1");
  await once(socket, "connect");
  return { socket, kind: kinds[program] };
}

/** @returns {Promise<Record<string, number>>} numbers by name */
async function ask({ socket, kind }) {
  socket.write(kind.question);
  let text = "";
  while (!kind.isWhole(text)) text += (await once(socket, "data"))[0];
  const lines = text.matchAll(/^(?:cmdstat_|STAT )([\w|]+)(?::calls=| )(\d+)/gm);
  return Object.fromEntries([...lines].map(([, name, count]) => [name, Number(count)]));
}

function isWholeBulk(text) {
  const [, bytes] = /^\$(\d+)\r\n/.exec(text) ?? [];
  return bytes !== undefined && text.length >= `$${bytes}\r\n\r\n`.length + Number(bytes);
}

function countRedis(now, before) {
  const calls = Object.entries(now).map(([name, count]) => [name, count - (before[name] ?? 0)]);
  const ranScripts = calls.some(([name, count]) => scripts.has(name) && count > 0);
  return sum(calls.filter(([name]) => !background.has(name) && !(ranScripts && calledByScripts.has(name))));
}

/** Each command is in one of these, a get that touches as a touch. A probe is in none. */
function countMemcached(now, before) {
  const names = ["cmd_get", "cmd_set", "cmd_touch", "delete_hits", "delete_misses"];
  return sum(names.map((name) => [name, now[name] - before[name]]));
}

const sum = (calls) => calls.reduce((total, [, count]) => total + count, 0);
