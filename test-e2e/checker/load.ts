import { pause } from "@msm/conformance";
import type { OperationKind } from "../history/operation.js";
import type { CheckedSession } from "./checked-session.js";

/** Clients of each session: so many of its requests are under way at most, but for those that hang in a stopped worker. */
const clientsPerSession = 4;

const handlerThinkMs = 5;
/** Milliseconds a client waits between an answer and its next request. Two cores must do the work of all cells at once. */
const clientThinkMs = { least: 60, most: 160 };

/** Lets every session's clients send one request after the other, until `isOver` says so. */
export async function runLoad(sessions: readonly CheckedSession[], isOver: () => boolean): Promise<void> {
  const clients = sessions.flatMap((session) =>
    Array.from({ length: clientsPerSession }, () => runClient(session, isOver)),
  );
  await Promise.all(clients);
}

async function runClient(session: CheckedSession, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const { answered, worker } = session.ask(anyKind(), { thinkMs: handlerThinkMs });
    // Who waits for a stopped worker opens another tab. The answer may come yet; the ledger will get it.
    await Promise.race([answered, worker.outOfRotation()]);
    await pause(clientThinkMs.least + Math.random() * (clientThinkMs.most - clientThinkMs.least));
  }
}

function anyKind(): OperationKind {
  const chance = Math.random();
  if (chance < 0.65) return "append";
  return chance < 0.85 ? "count" : "read";
}
