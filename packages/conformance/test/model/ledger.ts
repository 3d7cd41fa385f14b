/**
 * What is known of one write.
 * - open: no commit was asked for it yet
 * - sent: a commit that may contain it is under way, or failed, so that nobody knows what became of it
 * - unsure: it may be part of what was committed, and will never be known to be
 * - kept: acknowledged, and in its process' memory only
 * - acked: the client was told that it is stored
 * - given up: its request took it back, or ended without a commit
 * - refused: its request was told that nothing of it is stored, as another one was faster
 */
export type WriteState = "open" | "sent" | "unsure" | "kept" | "acked" | "given up" | "refused";

/** What one request did to one attribute. */
export interface Write {
  readonly request: number;
  /** The process that served the request. */
  readonly process: unknown;
  readonly name: string;
  /** What was assigned, or pushed; undefined for a deletion. Of increments: how many. */
  readonly value: string | number | undefined;
  readonly kind: "assigned" | "pushed" | "counted";
  readonly madeAt: number;
  /**
   * Whether it stands against what was there: a deletion of what the same request had assigned need not, nor what it
   * deletes, as the request may have changed nothing then.
   */
  decisive: boolean;
  state: WriteState;
  /** Whether an earlier commit may have stored it. */
  mayBeOut: boolean;
  /** When the first commit that contains it was asked for. */
  sentAt: number;
  /** When its request was told of success. */
  ackedAt: number;
  /** Acknowledged before it was on a node, so it may have got there at any later time. */
  wasKept: boolean;
}

/** What is known of one session. */
export interface ModelSession {
  readonly id: string;
  readonly user: number;
  /** All writes into it; those into a session that got a new id, and into the one it became, are the same. */
  readonly writes: Write[];
  /** Where it goes on, having been renewed with grace. */
  successor: ModelSession | undefined;
  /** Whether it is another session under a new id, with all its attributes. */
  readonly isRenewal: boolean;
  /** How many requests gave it a new id. */
  renewals: number;
  /** When the commit was begun that stored it under a new id; monotonic milliseconds. */
  renewedMs: number | undefined;
  /** When its id ceases to lead to its successor; undefined while nobody knows. Monotonic milliseconds. */
  leadsUntilMs: number | undefined;
  /** Every state in which some request saw it, as JSON, where the whole of it is saved. */
  readonly states: Set<string>;
  /** Whether anything was refused that a request did to it. */
  wasRefused: boolean;
  /** Whether any request had it to itself. */
  wasLocked: boolean;
  /** Whether any request changed it that did not have it to itself all the time. */
  wasChangedUnlocked: boolean;
  /** Every cookie that a client got for it. */
  readonly cookies: Set<string>;
  /** Whether a client was told that it is stored. */
  stored: boolean;
  /** The process that acknowledged it and has it in memory only. */
  keptBy: unknown;
  /** Whether anybody has tried to end it. */
  endBegun: boolean;
  /** Whether anybody has called destroy(), which ends also what another request makes of it. */
  wasDestroyed: boolean;
  /** From when on no request may find it. */
  goneAt: number;
  /** Who was told that it has ended; from the next calm on it is gone for all. */
  endedBy: unknown;
}

/** How a ledger is to be read. */
export interface Promises {
  /** Requests of one process share the session's values, also those that are not committed. */
  readonly isShared: boolean;
  /** That the same attribute is never overwritten unseen: no increment is lost. */
  readonly countsExactly: (session: ModelSession) => boolean;
  /** The whole session of whoever saved last stands. */
  readonly isWhole: boolean;
  /** What a process has in its memory alone may be refused later, as another one went on meanwhile. */
  readonly mayRefuseKept: (session: ModelSession) => boolean;
}

/** Everything that was written into sessions, and what may therefore stand in them. */
export class Ledger {
  readonly #promises: Promises;
  readonly #sessions = new Map<string, ModelSession>();
  #ticks = 0;

  constructor(promises: Promises) {
    this.#promises = promises;
  }

  get sessions(): readonly ModelSession[] {
    return [...this.#sessions.values()];
  }

  /** Numbers events in their order. */
  tick(): number {
    return ++this.#ticks;
  }

  session(id: string): ModelSession | undefined {
    return this.#sessions.get(id);
  }

  /**
   * @param former the session that became this one with all its attributes
   * @throws Error where the session is another user's
   */
  begin(id: string, user: number, former?: ModelSession): ModelSession {
    const known = this.#sessions.get(id);
    if (known !== undefined) {
      if (known.user !== user) throw new Error(`user ${user} got the session of user ${known.user}`);
      return known;
    }
    const session: ModelSession = {
      id,
      user,
      writes: former?.writes ?? [],
      successor: undefined,
      isRenewal: former !== undefined,
      renewals: 0,
      renewedMs: undefined,
      leadsUntilMs: undefined,
      states: former?.states ?? new Set(),
      wasRefused: false,
      wasLocked: false,
      wasChangedUnlocked: former?.wasChangedUnlocked ?? false,
      cookies: new Set(),
      stored: false,
      keptBy: undefined,
      endBegun: false,
      wasDestroyed: false,
      goneAt: Number.POSITIVE_INFINITY,
      endedBy: undefined,
    };
    this.#sessions.set(id, session);
    return session;
  }

  write(
    session: ModelSession,
    write: Pick<Write, "request" | "process" | "name" | "value" | "kind"> &
      Partial<Pick<Write, "decisive" | "state">>,
  ): Write {
    const whole: Write = {
      decisive: true,
      state: "open",
      mayBeOut: false,
      ...write,
      madeAt: this.tick(),
      sentAt: Number.POSITIVE_INFINITY,
      ackedAt: Number.POSITIVE_INFINITY,
      wasKept: false,
    };
    session.writes.push(whole);
    return whole;
  }

  /** What a request reads must be something that somebody wrote into this session, and that this request may see. */
  checkSeen(session: ModelSession, request: number, name: string, value: unknown): void {
    if (value === undefined) return;
    const visible = session.writes.filter(
      (write) => write.name === name && (write.request === request || this.#mayBeVisible(write)),
    );
    if (visible[0]?.kind === "counted") {
      const most = visible.reduce((sum, write) => sum + Number(write.value), 0);
      if (Number(value) > most)
        throw new Error(`${name} is ${value}, though it was counted up to ${most} at the most`);
      return;
    }
    const tokens = tokensOf(value);
    for (const token of tokens) {
      if (!visible.some((write) => write.value === token))
        throw new Error(`${name} has ${token}, which nobody wrote there, or never committed`);
    }
    if (new Set(tokens).size < tokens.length) throw new Error(`${name} has a token twice: ${tokens}`);
  }

  /** What must and what may stand in a session when all is over. `given` are its attributes. */
  checkFinal(session: ModelSession, given: Readonly<Record<string, unknown>>): void {
    if (this.#promises.isWhole) this.#checkWhole(session, given);
    const keepsForGood = !this.#promises.mayRefuseKept(session);
    const isSure = ({ state, wasKept }: Write) => isAcked(state) && (keepsForGood || !wasKept);
    const names = new Set([...session.writes.map(({ name }) => name), ...Object.keys(given)]);
    for (const name of names) {
      const value = given[name];
      const writes = session.writes.filter((write) => write.name === name);
      this.checkSeen(session, -1, name, value);
      if (this.#promises.isWhole) continue;
      switch (writes[0]?.kind) {
        case "assigned":
          this.#checkAssigned(name, value, writes, isSure);
          break;
        case "pushed":
          checkPushed(name, value, writes.filter(isSure));
          break;
        case "counted":
          if (this.#promises.countsExactly(session)) checkCounted(name, value, writes.filter(isSure));
          break;
        case undefined:
          throw new Error(`${name} stands in a session into which nobody wrote it`);
      }
    }
  }

  #mayBeVisible({ state }: Write): boolean {
    return this.#promises.isShared || (state !== "open" && state !== "given up" && state !== "refused");
  }

  #checkAssigned(
    name: string,
    value: unknown,
    writes: readonly Write[],
    isSure: (write: Write) => boolean,
  ): void {
    const acked = writes.filter(isSure);
    const standing = acked.filter((write) => !acked.some((other) => this.#comesAfter(other, write)));
    if (standing.length === 0 && value === undefined) return;
    if (standing.some((write) => write.value === value)) return;
    const unknown = writes.filter((write) => !isSure(write) && this.#mayBeVisible(write));
    // Where nobody was told for sure, what was there before may be there still.
    if (standing.length === 0) return;
    if (unknown.some((write) => write.value === value)) return;
    throw new Error(
      `${name} is ${value}, though ${standing.map((write) => `request ${write.request} was told that ${write.value} is stored`)}`,
    );
  }

  /** What stands is what one request had as a whole. */
  #checkWhole({ states }: ModelSession, given: Readonly<Record<string, unknown>>): void {
    if (this.#promises.isShared || states.has(stateOf(given))) return;
    throw new Error(`nobody had the session as it is: ${stateOf(given)}`);
  }

  /** Whether `later` was certainly decided on after `former` stood, so that it must have replaced it. */
  #comesAfter(later: Write, former: Write): boolean {
    if (later === former || !later.decisive) return false;
    if (later.request === former.request) return later.madeAt > former.madeAt;
    if (former.wasKept || later.wasKept) return false;
    return (this.#promises.isShared ? later.madeAt : later.sentAt) > former.ackedAt;
  }
}

/** Attributes in a form that can be compared. */
export const stateOf = (attributes: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(Object.entries(attributes).sort(([one], [other]) => (one < other ? -1 : 1)));

export const isAcked = (state: WriteState) => state === "acked" || state === "kept";

/** @param writes those that must be there */
function checkPushed(name: string, value: unknown, writes: readonly Write[]): void {
  const tokens = tokensOf(value);
  const lost = writes.filter((write) => !tokens.includes(String(write.value)));
  if (lost.length === 0) return;
  throw new Error(
    `${name} has [${tokens}]; lost, though acknowledged: ${lost.map((write) => write.value).join(" ")}`,
  );
}

/** @param writes those that must be there */
function checkCounted(name: string, value: unknown, writes: readonly Write[]): void {
  const least = writes.reduce((total, write) => total + Number(write.value), 0);
  const count = Number(value ?? 0);
  if (count < least) throw new Error(`${name} is ${count}, though ${least} increments were acknowledged`);
}

function tokensOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  if (typeof value === "string") return [value];
  if (typeof value === "object" && "tokens" in value && Array.isArray(value.tokens)) return value.tokens;
  throw new Error(`an attribute is ${JSON.stringify(value)}, which nobody wrote`);
}
