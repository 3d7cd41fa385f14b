import { pause } from "@msm/conformance";
import type { App } from "../faults/bench.js";
import { isSticky } from "../faults/cell.js";
import { eachLimited } from "../faults/each-limited.js";
import type { NodeContents } from "../faults/node-scan.js";
import type { Stage } from "../faults/row.js";
import { digestOf, readCookie } from "../faults/session-cookie.js";
import type { TrackedSession } from "../faults/tracked-session.js";

/** Asked again as often; whoever has to be used to be repaired, is so once in each. */
const everyMs = 300;
/** A node that goes up and down is held down for up to 30 s. What is not repaired by then never will be. */
const patienceMs = 60_000;
const atOnce = 16;

/**
 * Knows where the sessions are, so that a fault never takes both copies of one. A session has two places: two nodes
 * (non-sticky), or the process that has it in memory and a node (sticky). Before each fault every node is read, past the
 * processes, and what may fail now is whatever every session can do without:
 *
 * - non-sticky: a node, where each session's newest record is on another one that all processes hold for up
 * - sticky: a node, where each session was served since its owner last died, and another node is up; a process, where
 *   each session's newest record is on a node that is up
 *
 * What the sessions lack is made up for by msm alone, or, where its documentation says so, by the next request: then that
 * is sent.
 */
export class Places {
  readonly #stage: Stage;
  readonly #diedMs = new Map<string, number>();
  /** The newest version that was seen of each session that was not in its places, when it was first missed. */
  readonly #owed = new Map<string, string>();
  /** The longest that anybody had to wait until a fault could come, in milliseconds. */
  longestWaitMs = 0;
  /** Requests that were sent to have sessions repaired. */
  visits = 0;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** What a process held in memory is gone. */
  noteDeath({ name }: App): void {
    this.#diedMs.set(name, performance.now());
  }

  /** Resolves with one of the nodes that may fail, the first if it may. @throws Error where none may for 60 s */
  async nodeThatMayFail(inOrder: readonly string[]): Promise<string> {
    return this.#await(`a node of ${inOrder}`, (survey) => inOrder.find((node) => survey.canLose(node)));
  }

  /** Resolves when any process may be lost. @throws Error where that is not so for 60 s */
  async processMayFail(): Promise<void> {
    await this.#await("a process", (survey) => (survey.isBackedUp ? true : undefined));
  }

  async #await<T>(what: string, choose: (survey: Survey) => T | undefined): Promise<T> {
    const startedMs = performance.now();
    this.#owed.clear();
    for (;;) {
      const survey = await this.#survey();
      const chosen = survey && choose(survey);
      const waitedMs = performance.now() - startedMs;
      this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
      if (chosen !== undefined) return chosen;
      if (waitedMs > patienceMs)
        throw new Error(`${what} cannot be done without for ${patienceMs} ms: ${survey?.why}`);
      await this.#visit(survey?.toVisit ?? []);
      await pause(everyMs);
    }
  }

  /** Undefined where a node, or a process, does not say what it holds. */
  async #survey(): Promise<Survey | undefined> {
    const { bench, population, cell } = this.#stage;
    try {
      const up = await this.#upNodes();
      const contents = await bench.scan();
      const sessions = population.live.filter(({ mayBeGone, isChanging }) => !mayBeGone && !isChanging);
      const places = sessions.map((session) => ({ session, nodes: this.#nodesOf(session, contents, up) }));
      return isSticky(cell) ? this.#stickySurvey(places, up) : nonStickySurvey(places, up);
    } catch {
      return undefined;
    }
  }

  #stickySurvey(places: readonly Place[], up: readonly string[]): Survey {
    const bare = places.filter(({ nodes }) => nodes.length === 0);
    const ownerless = places
      .filter(({ session }) => !this.#isInMemory(session))
      .map(({ session }) => session);
    return {
      canLose: (node) => ownerless.length === 0 && up.some((other) => other !== node),
      isBackedUp: bare.length === 0,
      toVisit: ownerless,
      why: `up are ${up}; ${bare.length} sessions are on no node, ${ownerless.length} in no process${example(bare)}`,
    };
  }

  /** Whatever was served since its owner died was served by a process that lives. */
  #isInMemory(session: TrackedSession): boolean {
    const owner = readCookie(session.cookie!).route ?? "";
    const diedMs = this.#diedMs.get(owner) ?? Number.NEGATIVE_INFINITY;
    return Math.max(session.sinceMs, session.usedMs.at(-1) ?? 0) > diedMs;
  }

  /** Nodes that are up and have the newest record of a session, or a newer one than when it was first missed. */
  #nodesOf(
    session: TrackedSession,
    contents: ReadonlyMap<string, NodeContents>,
    up: readonly string[],
  ): string[] {
    const digest = digestOf(session.id);
    const versions = [...contents].flatMap(([node, { records }]) => {
      const version = records.get(digest)?.version;
      return version === undefined ? [] : [{ node, version }];
    });
    const known = versions.map(({ version }) => version).sort();
    const least = this.#owed.get(digest) ?? known.at(-1) ?? "";
    this.#owed.set(digest, least);
    return versions
      .filter(({ node, version }) => version >= least && up.includes(node))
      .map(({ node }) => node);
  }

  /** Nodes that no process holds for down. */
  async #upNodes(): Promise<string[]> {
    const { bench } = this.#stage;
    const reports = await Promise.all(bench.apps.map((app) => bench.report(app)));
    return bench.nodes
      .map(({ id }) => id)
      .filter((id) =>
        reports.every(({ nodes }) => nodes.some((node) => node.id === id && node.state !== "down")),
      );
  }

  async #visit(sessions: readonly TrackedSession[]): Promise<void> {
    await eachLimited(sessions, atOnce, async (session) => {
      if (session.isChanging) return;
      this.visits += 1;
      await session.ask("read").answered;
    });
  }
}

interface Place {
  readonly session: TrackedSession;
  readonly nodes: readonly string[];
}

/** Where the sessions are, all of them. */
interface Survey {
  /** Whether every session can do without a node, and whether without any one process. */
  canLose(node: string): boolean;
  readonly isBackedUp: boolean;
  /** Sessions that get another place with their next request. */
  readonly toVisit: readonly TrackedSession[];
  /** In words. */
  readonly why: string;
}

function nonStickySurvey(places: readonly Place[], up: readonly string[]): Survey {
  const single = places.filter(({ nodes }) => nodes.length < 2);
  return {
    canLose: (node) =>
      up.some((other) => other !== node) &&
      places.every(({ nodes }) => nodes.some((other) => other !== node)),
    isBackedUp: true,
    toVisit: up.length < 2 ? [] : single.map(({ session }) => session),
    why: `up are ${up}; ${single.length} sessions are not on two of them${example(single)}`,
  };
}

const example = ([place]: readonly Place[]) =>
  place === undefined ? "" : `, e.g. ${place.session.name}, on ${place.nodes.join(" and ") || "none"}`;
