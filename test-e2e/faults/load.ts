import { pause } from "@msm/conformance";
import type { OperationKind } from "../history/operation.js";
import type { Population } from "./population.js";
import type { Random } from "./random.js";
import type { TrackedSession } from "./tracked-session.js";

/** What users do, and how many there are. */
export interface LoadOptions {
  /** Sessions that are there at a time. Default 200. */
  readonly sessions?: number;
  /** Requests that are under way at most, but for those that hang in a stopped process. Default 40. */
  readonly users?: number;
  /** Requests that are begun in a second, where they are answered quickly enough. Default 200. */
  readonly ratePerSecond?: number;
  /** Shares of what is asked; the rest only reads. Default 0.5 append, 0.05 log in, 0.05 log out. */
  readonly shares?: { readonly append: number; readonly login: number; readonly logout: number };
  /** When a dead cookie is sent again, in milliseconds after it died. Default at once, and after 2 and 10 s. */
  readonly probesAfterMs?: readonly number[];
  /** Milliseconds between reading a session and writing it. Default 2. */
  readonly thinkMs?: number;
  /** Which session a user takes. Default: each as likely as any other. */
  readonly choose?: (sessions: readonly TrackedSession[], random: Random, act: Act) => TrackedSession;
}

/** What a user does with a session. */
export type Act = OperationKind | "login" | "logout";

const usualShares = { append: 0.5, login: 0.05, logout: 0.05 };
const usualProbesAfterMs = [0, 2000, 10_000];

/**
 * Users that send one request after the other, each to any session: a closed loop at a bounded rate. What a session is to
 * its user (log-ins, log-outs) is done while nothing else is under way for it; all else may come at the same time.
 */
export class Load {
  readonly #population: Population;
  readonly #options: LoadOptions;
  readonly #random: Random;
  #isOver = false;
  #users: Promise<unknown> | undefined;
  readonly #coming = new Set<NodeJS.Timeout>();
  readonly #probing = new Set<Promise<unknown>>();

  constructor(population: Population, random: Random, options: LoadOptions = {}) {
    this.#population = population;
    this.#random = random;
    this.#options = options;
  }

  /** Makes the sessions, and lets the users begin. @throws Error where a session cannot begin */
  async start(): Promise<void> {
    const { sessions = 200, users = 40, ratePerSecond = 200 } = this.#options;
    await this.#population.begin(sessions);
    const everyMs = (users / ratePerSecond) * 1000;
    const loops = Array.from({ length: users }, (_, at) =>
      this.#user(this.#random.fork(`user ${at}`), everyMs, (everyMs * at) / users),
    );
    this.#users = Promise.all(loops);
  }

  /** Resolves when every user has stopped, and every request has its answer. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#users;
    for (const timer of this.#coming) clearTimeout(timer);
    await Promise.all(this.#probing);
    await this.#population.quiet();
  }

  async #user(random: Random, everyMs: number, firstMs: number): Promise<void> {
    let dueMs = performance.now() + firstMs;
    while (!this.#isOver) {
      await pause(Math.max(0, dueMs - performance.now()));
      if (this.#isOver) return;
      dueMs = Math.max(dueMs + everyMs, performance.now());
      await this.#act(random);
    }
  }

  async #act(random: Random): Promise<void> {
    const { live } = this.#population;
    if (live.length < (this.#options.sessions ?? 200)) {
      await this.#population.add().begin();
      return;
    }
    const act = this.#anyAct(random);
    const session = this.#options.choose?.(live, random, act) ?? random.pick(live);
    if (session.isChanging) return; // who waits for an answer does not click
    const needsQuiet = act === "login" || act === "logout";
    if (!needsQuiet) return this.#operate(session, act);
    return session.isQuiet ? this.#change(session, act) : this.#operate(session, "read");
  }

  /** Who waits for a stopped process opens another tab. The answer may come yet; the ledger will get it. */
  async #operate(session: TrackedSession, kind: OperationKind): Promise<void> {
    const { thinkMs = 2 } = this.#options;
    const { answered, app } = session.ask(kind, { thinkMs });
    await Promise.race([answered, ...(app === undefined ? [] : [app.outOfRotation()])]);
  }

  async #change(session: TrackedSession, act: "login" | "logout"): Promise<void> {
    const app = session.app();
    const known = this.#population.dead.length;
    const changed = (act === "login" ? session.login(app) : session.logout(app)).then(() => {
      for (const dead of this.#population.dead.slice(known).filter((each) => each.session === session)) {
        for (const afterMs of this.#options.probesAfterMs ?? usualProbesAfterMs) {
          this.#soon(afterMs, () => this.#population.probe(dead));
        }
      }
    });
    await Promise.race([changed, ...(app === undefined ? [] : [app.outOfRotation()])]);
  }

  /** Beside the users; not at all where the load ends before. The audit probes every dead cookie once more. */
  #soon(afterMs: number, work: () => Promise<unknown>): void {
    const timer = setTimeout(() => {
      this.#coming.delete(timer);
      const done = work().finally(() => this.#probing.delete(done));
      this.#probing.add(done);
    }, afterMs);
    this.#coming.add(timer);
  }

  #anyAct(random: Random): Act {
    const { append, login, logout } = this.#options.shares ?? usualShares;
    const chance = random.next();
    if (chance < append) return "append";
    if (chance < append + login) return "login";
    return chance < append + login + logout ? "logout" : "read";
  }
}
