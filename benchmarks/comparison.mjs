/** Runs the contestants of one framework side by side. */
import { CommandCounter } from "./command-counter.mjs";
import { ForeignWork } from "./foreign-work.mjs";
import { LoadConnections, requestBytes } from "./load.mjs";
import { startNode } from "./nodes.mjs";
import { checkAnswered, logIn, ServerProcess } from "./server-process.mjs";
import { quantile } from "./statistics.mjs";

/**
 * @typedef {import("./contestants.mjs").Contestant} Contestant
 * @typedef {import("./load.mjs").Extent} SliceExtent
 * @typedef {import("./workloads.mjs").Workload} Workload
 *
 * @typedef {object} Extent
 * @property {number} rounds that count; one before them warms up and does not
 * @property {SliceExtent} slice
 * @property {SliceExtent} warmUpSlice of the first round
 * @property {number} [sessions] of each size, whose cookies are sent in turn. Default 512
 * @property {number} [logInsAtOnce] how many of these sessions begin at the same time. Default 4
 * @property {number} nodes that each contestant of msm with storage has
 * @property {string} [serverCore] the core that servers get; undefined: whichever is free
 * @property {string} [profileFolder] where each server leaves a CPU profile
 *
 * What was measured in one slice.
 * @typedef {object} Slice
 * @property {number} answered requests
 * @property {number} perSecond
 * @property {number} p50Ms
 * @property {number} p99Ms
 * @property {number} cpuUs of the server, for each request
 * @property {number} commands that the storage nodes were sent, for each request
 *
 * What was measured of one contestant under one workload.
 * @typedef {object} Cell
 * @property {Contestant} contestant
 * @property {Workload} workload
 * @property {Slice[]} slices one for each round
 *
 * @typedef {{ cells: Cell[], slices: number, repeated: number, disturbed: number, missing: string[] }} Comparison
 */

const connections = 64;

/** Somebody else may have so much of one core. */
const foreignPart = 0.1;

/** A slice is repeated so often, as long as not too many were. */
const repeats = 3;
const repeatedPart = 0.25;

/**
 * All contestants run at once, each with nodes of its own, and get their load in turns, slice by slice: a machine whose speed
 * wanders then slows all of them alike.
 * @param {readonly Contestant[]} contestants
 * @param {readonly Workload[]} workloads
 * @param {Extent} extent
 * @returns {Promise<Comparison>}
 */
export async function compare(contestants, workloads, extent) {
  const stage = new Stage(extent);
  try {
    await stage.start(contestants);
    const comparison = await stage.run(workloads);
    return { ...comparison, missing: stage.missing };
  } finally {
    await stage.end();
  }
}

class Stage {
  #extent;
  /** @type {Contender[]} */
  #contenders = [];
  /** @type {import("./nodes.mjs").Node[]} */
  #nodes = [];
  /** What cannot take part, as its storage is not installed. @type {string[]} */
  missing = [];
  #slices = 0;
  #repeated = 0;
  #disturbed = 0;

  /** @param {Extent} extent */
  constructor(extent) {
    this.#extent = extent;
  }

  /** @param {readonly Contestant[]} contestants */
  async start(contestants) {
    const started = await Promise.all(contestants.map((contestant) => this.#start(contestant)));
    this.#contenders.push(...started.filter((contender) => contender !== undefined));
  }

  async #start(contestant) {
    const nodes = await this.#startNodes(contestant);
    if (nodes !== undefined) return Contender.start(contestant, nodes, this.#extent);
    this.missing.push(contestant.name);
    return undefined;
  }

  /** @param {readonly Workload[]} workloads */
  async run(workloads) {
    const foreign = new ForeignWork([
      ...this.#contenders.map(({ pid }) => pid),
      ...this.#nodes.map(({ pid }) => pid),
    ]);
    const cells = [];
    // What fills the servers' memory comes last: it would slow down whatever came behind it.
    const [filling, others] = [
      workloads.filter(({ session }) => !session),
      workloads.filter(({ session }) => session),
    ];
    for (const group of [others, filling]) cells.push(...(await this.#runRounds(group, foreign)));
    return { cells, slices: this.#slices, repeated: this.#repeated, disturbed: this.#disturbed };
  }

  async end() {
    await Promise.all(this.#contenders.map((contender) => contender.end()));
    await Promise.all(this.#nodes.map((node) => node.end()));
  }

  async #startNodes({ storage, sessions }) {
    if (storage === undefined) return [];
    // Peers know one node.
    const count = sessions.kind === "msm" ? this.#extent.nodes : 1;
    const nodes = await Promise.all(Array.from({ length: count }, () => startNode(storage)));
    this.#nodes.push(...nodes.filter((node) => node !== undefined));
    return nodes.includes(undefined) ? undefined : nodes;
  }

  async #runRounds(workloads, foreign) {
    /** @type {(Cell & { contender: Contender })[]} */
    const cells = workloads.flatMap((workload) =>
      this.#contenders.map((contender) => ({
        contender,
        contestant: contender.contestant,
        workload,
        slices: [],
      })),
    );
    const { rounds, slice, warmUpSlice, sessions = 512 } = this.#extent;
    for (const { contender, workload } of cells)
      await contender.prepare(workload, sessions, this.#extent.logInsAtOnce);
    for (const { contender, workload } of cells) await contender.measure(workload, warmUpSlice);
    for (let round = 0; round < rounds; round += 1) {
      for (const { contender, workload, slices } of cells) {
        slices.push(await this.#undisturbed(foreign, () => contender.measure(workload, slice)));
      }
    }
    return cells.map(({ contender, ...cell }) => cell);
  }

  async #undisturbed(foreign, measure) {
    this.#slices += 1;
    for (let tries = 0; ; tries += 1) {
      foreign.begin();
      const slice = await measure();
      if (!foreign.exceeds(foreignPart)) return slice;
      if (tries === repeats || this.#repeated >= repeatedPart * this.#slices) {
        this.#disturbed += 1;
        return slice;
      }
      this.#repeated += 1;
    }
  }
}

/** A contestant that runs. */
class Contender {
  #server;
  #connections;
  #counter;
  /** @type {Map<Workload, Buffer[]>} */
  #requests = new Map();
  /** @type {Map<string, string[]>} */
  #cookies = new Map();

  constructor(contestant, server, connections, counter) {
    this.contestant = contestant;
    this.#server = server;
    this.#connections = connections;
    this.#counter = counter;
  }

  static async start(contestant, nodes, { serverCore: core, profileFolder }) {
    const { framework, sessions } = contestant;
    const urls = nodes.map(({ url }) => url).join(",");
    const settings = { framework, sessions, nodes: urls };
    const server = await ServerProcess.start(settings, { core, profileFolder });
    const counter = await CommandCounter.connect(nodes);
    return new Contender(contestant, server, await LoadConnections.open(server.port, connections), counter);
  }

  get pid() {
    return this.#server.pid;
  }

  /**
   * Begins the sessions that a workload needs.
   * @param {Workload} workload
   * @param {number} count
   * @param {number | undefined} atOnce
   */
  async prepare(workload, count, atOnce) {
    const { method, path, session } = workload;
    if (session === undefined) {
      this.#requests.set(workload, [requestBytes(method, path)]);
      return;
    }
    const cookies = this.#cookies.get(session) ?? (await logIn(this.#server, session, count, atOnce));
    this.#cookies.set(session, cookies);
    this.#requests.set(
      workload,
      cookies.map((cookie) => requestBytes(method, path, cookie)),
    );
  }

  /**
   * @param {Workload} workload
   * @param {SliceExtent} extent
   * @returns {Promise<Slice>}
   */
  async measure(workload, extent) {
    await this.#counter.begin();
    const before = await this.#server.usage();
    const outcome = await this.#connections.run(this.#requests.get(workload) ?? [], extent);
    const after = await this.#server.usage();
    const commands = await this.#counter.commands();
    checkAnswered(outcome, `${this.contestant.name} (${this.contestant.framework}), ${workload.name}`);

    const cpuUs = (used) => used.cpu.user + used.cpu.system;
    const { perSecond, answered, latenciesMs } = outcome;
    return {
      answered,
      perSecond,
      p50Ms: quantile(latenciesMs, 0.5),
      p99Ms: quantile(latenciesMs, 0.99),
      cpuUs: (cpuUs(after) - cpuUs(before)) / answered,
      commands: commands / answered,
    };
  }

  async end() {
    this.#connections.close();
    this.#counter.end();
    await this.#server.end();
  }
}
