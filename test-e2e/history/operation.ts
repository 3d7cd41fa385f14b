/**
 * What a request does: "append" adds its id to what the session holds and counts, "count" only counts, "read" changes
 * nothing. Under a lock the ids are one list, else each is an attribute of its own.
 */
export type OperationKind = "append" | "count" | "read";

/** A worker's answer: what the handler found in the session, and made of the counter. */
export interface Reply {
  /** The session that the handler believed to serve; undefined where it found none. */
  readonly tag?: string | undefined;
  /** The counter: as the request left it, or as it found it where it only read. */
  readonly count: number;
  /** Id of the request that had written the counter before, where the counter says so; "" before the first. */
  readonly parent?: string;
  /** How many ids the handler found. */
  readonly length: number;
  /** Digest of the list that the handler found, see `listDigest`, where the ids are a list. */
  readonly digest?: string;
}

/** What a client knows of its request. */
export type Outcome =
  /** The whole answer came, with a status that says it worked. */
  | { readonly kind: "acknowledged"; readonly reply: Reply }
  /** It was said that nothing came of it, with the code of the error. */
  | { readonly kind: "refused"; readonly code: string }
  /** No answer, or one that leaves open whether the change is, or will be, stored. */
  | { readonly kind: "indeterminate"; readonly why: string };

/** One request as a client saw it. Times are of one monotonic clock, in milliseconds. */
export interface Operation {
  /** `<session>:<worker>:<number>`; no two are the same. */
  readonly id: string;
  readonly session: string;
  readonly kind: OperationKind;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
}

/** An operation that was acknowledged. */
export interface Acknowledged extends Operation {
  readonly outcome: Extract<Outcome, { kind: "acknowledged" }>;
}

/** What a session holds when all is quiet. */
export interface FinalState {
  readonly tag?: string;
  /** The ids, in the list's order where they are a list. */
  readonly found: readonly string[];
  readonly count: number;
}

/** Narrows to operations that were acknowledged. */
export const isAcknowledged = (operation: Operation): operation is Acknowledged =>
  operation.outcome.kind === "acknowledged";

/** True where the operation writes its id. */
export const appends = ({ kind }: Operation): boolean => kind === "append";

/** True where the operation counts. */
export const counts = ({ kind }: Operation): boolean => kind !== "read";
