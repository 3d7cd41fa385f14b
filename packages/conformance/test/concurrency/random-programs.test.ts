import { MsmError, type Session, type SessionExchange, type SessionManager } from "@msm/core";
import { describe, expect, it, vi } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  type FaultyStorage,
  testClient,
} from "../../src/index.js";
import { repeatableBytes, repeatableNumber, repeatChance } from "../model/chance.js";

// Ids and pauses are the same whenever a seed is told again.
vi.mock(import("node:crypto"), async (original) => {
  const chance = await import("../model/chance.js");
  const crypto = await original();
  return { ...crypto, randomBytes: chance.repeatableBytes as typeof crypto.randomBytes };
});
vi.spyOn(Math, "random").mockImplementation(repeatableNumber);

/** What runs, and what may go wrong meanwhile. */
interface Cell {
  readonly mode: "non-sticky" | "sticky";
  readonly options: Readonly<Record<string, unknown>>;
  readonly processes: 1 | 2;
  /** Ids are renewed where all nodes are sound only. */
  readonly node: "is sound" | "is in trouble";
  /** Whether requests reload what they changed, and work throws. */
  readonly givesUp: boolean;
}

const all = { locking: "all", lockTimeoutMs: 10_000 };
const auto = { locking: "auto", lockTimeoutMs: 10_000 };
const fail = { onConflict: "fail" };

const nonSticky = { mode: "non-sticky", processes: 2, givesUp: true } as const;
const sound = { node: "is sound" } as const;
const inTrouble = { node: "is in trouble" } as const;
// In the process that owns a session, who reads without a lock may read what another gives up.
const stickyAll = { mode: "sticky", options: all, givesUp: true } as const;
const stickyAuto = { mode: "sticky", options: auto, givesUp: false } as const;

const cells: Readonly<Record<string, Cell>> = {
  "non-sticky, all": { ...nonSticky, options: all, ...sound },
  "non-sticky, fail": { ...nonSticky, options: fail, ...sound },
  "non-sticky, auto": { ...nonSticky, options: auto, ...sound },
  "non-sticky, all, a node in trouble": { ...nonSticky, options: all, ...inTrouble },
  "non-sticky, fail, a node in trouble": { ...nonSticky, options: fail, ...inTrouble },
  "sticky, all, two processes": { ...stickyAll, processes: 2, ...sound },
  "sticky, auto, two processes": { ...stickyAuto, processes: 2, ...sound },
  "sticky, all, one owner, a node in trouble": { ...stickyAll, processes: 1, ...inTrouble },
  "sticky, auto, one owner, a node in trouble": { ...stickyAuto, processes: 1, ...inTrouble },
};

const seeds = 20;
const requests = 32;
const spreadMs = 1500;

describe("whatever requests do with one session, in whatever order", () => {
  it.each(Object.entries(cells))(
    `is found if it was acknowledged, and keeps nobody waiting for ever: %s, ${seeds} seeds`,
    async (_, cell) => {
      for (let seed = 1; seed <= seeds; seed++) {
        const story = new Story(cell, seed);
        try {
          await story.tell();
        } catch (error) {
          throw new Error(`seed ${seed}: ${String(error)}\n${story.log.join("\n")}`, { cause: error });
        } finally {
          await story.close();
        }
      }
    },
  );
});

const troubles: Readonly<Record<string, (node: FaultyStorage, chance: Chance) => void>> = {
  "is down": (node) => node.goDown(),
  hangs: (node) => node.hang(),
  "loses replies": (node) => node.loseReplies(),
  "loses a reply": (node) => node.loseNextReply(),
  "fails some calls": (node, chance) => node.failNext(1 + chance.below(3)),
  "renews no lease": (node) => node.hangOn("renewLease"),
  "frees no lease": (node) => node.hangOn("unlock"),
};

/** One session, and requests that do things with it, chosen by a seed. */
class Story {
  readonly log: string[] = [];
  readonly #cell: Cell;
  readonly #chance: Chance;
  readonly #running: Cluster;
  readonly #managers: SessionManager[];
  readonly #acknowledged: string[] = [];
  readonly #refused: string[] = [];
  readonly #wrong: string[] = [];
  #cookie: string | undefined;
  #unfinished = 0;

  constructor(cell: Cell, seed: number) {
    repeatChance();
    repeatableBytes(seed); // other ids with each seed
    this.#cell = cell;
    this.#chance = new Chance(seed);
    this.#running = cluster({ mode: cell.mode, ...cell.options } as ClusterOptions);
    this.#managers = Array.from({ length: cell.processes }, (_, i) => this.#start(`app${i + 1}`));
  }

  async tell(): Promise<void> {
    const client = testClient();
    await client.visit(this.#managers[0]!, (attributes) => {
      attributes.list = [];
    });
    this.#cookie = client.cookie;
    const ending = Promise.all([
      ...Array.from({ length: requests }, (_, i) => this.#send(`r${i}`)),
      ...(this.#cell.node === "is in trouble" ? [this.#harm()] : []),
    ]);
    await this.#running.clock.turn(30_000);
    expect(this.#unfinished, "requests that never end").toBe(0);
    await ending;
    await this.#running.clock.turn(40_000); // longer than any hold-down
    await this.#check();
  }

  close(): Promise<void> {
    return this.#running.close();
  }

  #start(route: string): SessionManager {
    const manager = this.#running.start(route);
    for (const name of [
      "takenOver",
      "relocated",
      "merged",
      "conflict",
      "leaseLost",
      "regenerated",
    ] as const) {
      manager.on(name, () => this.#note(`${route} ${name}`));
    }
    return manager;
  }

  // --- requests ---------------------------------------------------------------------------------------------------

  async #send(name: string): Promise<void> {
    this.#unfinished++;
    await this.#waits(spreadMs);
    try {
      const kind = this.#chance.below(100);
      if (kind < 15) await this.#read(name);
      else if (kind < 30) await this.#work(name);
      else await this.#append(name);
    } catch (error) {
      if (!(error instanceof MsmError) && !(error instanceof PlannedError)) throw error;
      this.#refused.push(name);
      this.#note(`${name} refused: ${error.message}`);
    } finally {
      this.#unfinished--;
    }
  }

  /** A request that reads, and sometimes sets an attribute of its own though nobody would think so. */
  async #read(name: string): Promise<void> {
    const changes = this.#chance.below(4) === 0;
    await this.#request("GET", "/read", name, changes, async ({ attributes }) => {
      expect(Array.isArray(attributes.list)).toBe(true);
      await this.#waits(20);
      if (changes) attributes[name] = 1;
    });
  }

  async #append(name: string): Promise<void> {
    await this.#request("POST", "/append", name, true, async (session) => {
      if (this.#chance.below(10) < 3) await session.lock();
      if (this.#cell.givesUp && this.#chance.below(10) < 1) await this.#giveUp(session);
      await this.#appendTo(session, name);
      if (this.#chance.below(10) < 2) {
        await session.save();
        this.#note(`${name} saved`);
        await this.#waits(20);
      }
      if (this.#cell.node === "is sound" && this.#chance.below(10) < 1) {
        await session.regenerate({ keep: "all", grace: true });
        this.#note(`${name} renews the id`);
      }
    });
  }

  /** Work outside of requests, that sometimes throws. */
  async #work(name: string): Promise<void> {
    const throws = this.#cell.givesUp && this.#chance.below(3) === 0;
    await this.#process().withSession(this.#cookie!.slice(0, 48), async (session) => {
      this.#note(`${name} works`);
      await this.#appendTo(session, name);
      if (throws) throw new PlannedError("planned");
    });
    this.#acknowledge(name, "work");
  }

  async #request(
    method: string,
    url: string,
    name: string,
    changes: boolean,
    handle: (session: Session) => Promise<void>,
  ): Promise<void> {
    const exchange = await this.#process().open({
      method,
      url,
      secure: false,
      cookieHeader: `sid=${this.#cookie}`,
    });
    try {
      const session = exchange.session!;
      this.#note(`${name} ${method}${session.isLocked ? ", locked" : ""}`);
      if (session.isNew) this.#wrong.push(`${name}: the session was taken for absent`);
      await handle(session);
      await this.#finish(exchange, name, changes);
    } finally {
      // As an adapter does where a handler throws: what it changed before is saved with the error's answer.
      await exchange.commit();
      await exchange.end();
    }
  }

  async #finish(exchange: SessionExchange, name: string, changes: boolean): Promise<void> {
    const { outcome, error } = await exchange.commit();
    const cookie = /^sid=([^;]+)/.exec(exchange.cookie() ?? "")?.[1];
    if (cookie !== undefined) this.#cookie = cookie;
    if (error) throw error;
    if (changes) this.#acknowledge(name, outcome);
  }

  async #appendTo({ attributes }: Session, name: string): Promise<void> {
    const { list } = attributes;
    if (this.#chance.below(10) < 7) await this.#waits(40);
    const way = this.#chance.below(3);
    if (way === 0) attributes.list = [...list, name];
    else list.push(name);
    if (way === 1) {
      await this.#waits(10);
      attributes.list = list;
    }
    attributes[name] = 1;
    attributes[`appended ${name}`] = 1;
  }

  async #giveUp(session: Session): Promise<void> {
    session.attributes.list = ["given up"];
    await this.#waits(20);
    await session.reload();
  }

  // --- what goes wrong --------------------------------------------------------------------------------------------

  async #harm(): Promise<void> {
    const victim = this.#chance.of(Object.values(this.#running.nodes));
    const endMs = this.#running.clock.monotonicMs() + spreadMs;
    while (this.#running.clock.monotonicMs() < endMs) {
      await this.#waits(400);
      const [trouble, begin] = this.#chance.of(Object.entries(troubles));
      this.#note(`a node ${trouble}`);
      begin(victim, this.#chance);
      await this.#waits(300);
      victim.comeBack();
      this.#note("the node is sound again");
    }
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  async #check(): Promise<void> {
    expect(this.#managers.map((manager) => manager.stats().waitingRequests)).toEqual(
      this.#managers.map(() => 0),
    );
    const owner = this.#managers[this.#cookie?.endsWith(".app2") ? 1 : 0]!;
    const client = testClient(this.#cookie);
    // A sticky process that was not asked lately may have an older state; a write brings all together.
    await client.visit(owner, (attributes) => {
      attributes.last = true;
    });
    const { attributes } = (await client.visit(owner)).session!;
    const list: readonly string[] = attributes.list ?? [];
    const isAppend = (name: string) => attributes[`appended ${name}`] === 1;
    expect({
      lost: this.#acknowledged.filter((name) => attributes[name] !== 1),
      lostOfTheList: this.#acknowledged.filter((name) => isAppend(name) && !list.includes(name)),
      half: this.#refused.filter((name) => isAppend(name) !== list.includes(name)),
      givenUp: list.filter((name) => name === "given up"),
      wrong: this.#wrong,
    }).toEqual({ lost: [], lostOfTheList: [], half: [], givenUp: [], wrong: [] });
  }

  #acknowledge(name: string, outcome: string): void {
    this.#acknowledged.push(name);
    this.#note(`${name} ${outcome}`);
  }

  #process(): SessionManager {
    return this.#chance.of(this.#managers);
  }

  #waits(mostMs: number): Promise<void> {
    const ms = this.#chance.below(mostMs);
    return new Promise((resolve) => void this.#running.clock.after(ms, resolve));
  }

  #note(what: string): void {
    this.log.push(`${String(this.#running.clock.monotonicMs()).padStart(6)} ms  ${what}`);
  }
}

/** Work that was to throw. */
class PlannedError extends Error {}

/** mulberry32 (public domain, T. Ettinger): small, seeded, good enough to choose what requests do. */
class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
