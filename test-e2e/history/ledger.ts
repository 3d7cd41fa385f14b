import type { SessionHistory } from "./checks.js";
import type { FinalState, Operation } from "./operation.js";

/** All that the clients were told, in the order in which they were. */
export class Ledger {
  readonly #operations: Operation[] = [];

  record(operation: Operation): void {
    this.#operations.push(operation);
  }

  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** What is known of one session, once it is known what it ended as. */
  historyOf(session: string, final: FinalState): SessionHistory {
    return {
      session,
      operations: this.#operations.filter((operation) => operation.session === session),
      final,
    };
  }
}
