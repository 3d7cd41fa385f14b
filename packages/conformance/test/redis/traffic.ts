import { pause, testClient } from "@msm/conformance";
import { MsmError, type SessionManager } from "@msm/core";

/** Visitors that count in their sessions, each one request after the other, until they are told to end. */
export interface Traffic {
  /** How many changes were acknowledged until now. */
  acknowledged(): number;
  /** How many requests failed until now. */
  failed(): number;
  /** Ends it. */
  end(): Promise<TrafficReport>;
}

interface TrafficReport {
  /** Why requests failed. */
  readonly errors: readonly MsmError[];
  /** Changes that were acknowledged, and not there when a session was used next. */
  readonly lost: number;
  /** How often a visitor with a session got another one. */
  readonly newIds: number;
}

/** Sends visitors to the managers by turns. What fails is tried again a moment later. */
export function watchTraffic(managers: readonly SessionManager[], visitors: number): Traffic {
  const errors: MsmError[] = [];
  let acknowledged = 0;
  let lost = 0;
  let newIds = 0;
  let isOver = false;

  async function visit(): Promise<void> {
    const client = testClient();
    let id: string | undefined;
    /** What the session must hold at least. */
    let known = 0;
    for (let turn = 0; !isOver; turn += 1) {
      const manager = managers[turn % managers.length]!;
      let found = 0;
      try {
        const { result, session } = await client.visit(manager, (attributes) => {
          found = typeof attributes.n === "number" ? attributes.n : 0;
          attributes.n = found + 1;
        });
        if (result.error !== undefined) throw result.error;
        if (id !== undefined && session?.id !== id) newIds += 1;
        id = session?.id;
        lost += Math.max(0, known - found);
        known = found + 1;
        acknowledged += 1;
      } catch (thrown) {
        if (!(thrown instanceof MsmError)) throw thrown;
        errors.push(thrown);
        await pause(20);
      }
      await pause(2);
    }
  }

  const all = Promise.all(Array.from({ length: visitors }, visit));
  all.catch(() => undefined); // told by end()
  return {
    acknowledged: () => acknowledged,
    failed: () => errors.length,
    async end() {
      isOver = true;
      await all;
      return { errors, lost, newIds };
    },
  };
}
