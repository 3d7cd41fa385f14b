import { hintOf } from "../cookie/session-tokens.js";
import type { Hint } from "../failover/record-search.js";
import { waitingFor } from "../locking/waiting.js";
import type { Parts } from "../parts.js";
import { identify, type SessionIdentity } from "../session/session-id.js";
import type { SessionRequest } from "./exchange.js";
import { lockOrNot } from "./lock-or-not.js";
import type { Mode } from "./mode.js";

/** How often it is looked whether the nodes have taken what a former mode has. */
const lookEveryMs = 1000;

/**
 * The mode that sessions are opened in, and those before it whose exchanges are still open: they end in the mode in which
 * they began. A session goes over with its next request, which finds on the nodes what the former mode knows of it.
 */
export class Modes {
  readonly #parts: Parts;
  #newest: Mode;
  #formers: readonly Mode[] = [];
  #current: Mode;
  #isClosing = false;

  constructor(first: Mode, parts: Parts) {
    this.#parts = parts;
    this.#newest = first;
    this.#current = first;
  }

  /** What sessions are opened in now. */
  get current(): Mode {
    return this.#current;
  }

  /** Opens sessions in another mode from now on. */
  switchTo(next: Mode): void {
    const former = this.#newest;
    this.#newest = next;
    this.#keep([...this.#formers, former]);
    for (const mode of this.#formers) mode.endWith(next);
    void this.#end(former);
  }

  /** What all of them hold. */
  gauges(): ReturnType<Mode["gauges"]> {
    const all = this.#all.map((mode) => mode.gauges());
    const sum = (gauge: keyof ReturnType<Mode["gauges"]>) =>
      all.reduce((total, gauges) => total + gauges[gauge], 0);
    return {
      localSessions: sum("localSessions"),
      unsavedSessions: sum("unsavedSessions"),
      waitingRequests: sum("waitingRequests"),
    };
  }

  /** Resolves when no exchange of a former mode is open. */
  async formersEnded(): Promise<void> {
    await Promise.all(this.#formers.map(({ exchanges }) => exchanges.ended()));
  }

  /**
   * Saves what is still to be saved, at once, as an open stream may last longer than there is time; and again, with what
   * came since, when all exchanges have ended.
   */
  async drain(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#all.flatMap((mode) => [mode.exchanges.ended(), mode.drain()]));
    await Promise.all(this.#all.map((mode) => mode.drain()));
  }

  /** Gives back what is locked on the nodes, also by exchanges that are still open. */
  async release(): Promise<void> {
    await Promise.all(this.#all.map((mode) => mode.release()));
  }

  get #all(): readonly Mode[] {
    return [...this.#formers, this.#newest];
  }

  #keep(formers: readonly Mode[]): void {
    this.#formers = formers;
    this.#current = formers.length === 0 ? this.#newest : this.#afterFormers(this.#newest);
  }

  /** As the mode itself; but before a session is opened, it goes over from the former ones. */
  #afterFormers(mode: Mode): Mode {
    return {
      ...mode,
      open: async (request) => {
        const cookie = (request.tokens ?? this.#parts.cookies).read(request.cookieHeader);
        if (cookie !== undefined) {
          const wantsLock = this.#parts.locking.locks(request);
          const identity = identify(cookie.id);
          await this.#handOver(
            identity,
            hintOf(cookie, identity, this.#parts.ring),
            wantsLock,
            request.onClose,
          );
        }
        return mode.open(request);
      },
      openById: async (identity, options) => {
        const guess = this.#parts.ring.place(identity.digest).id;
        await this.#handOver(identity, { guess }, options.lock);
        return mode.openById(identity, options);
      },
    };
  }

  /** Who wants the session for itself waits for whoever has it so in a former mode; the others find what was saved. */
  async #handOver(
    identity: SessionIdentity,
    hint: Hint,
    wantsLock: boolean,
    onClose?: SessionRequest["onClose"],
  ): Promise<void> {
    const { clock, options } = this.#parts;
    const handOver = async (waiting?: ReturnType<typeof waitingFor>) => {
      for (const mode of this.#formers) await mode.handOver(identity, hint, waiting);
    };
    await lockOrNot(
      {
        identity,
        wantsLock,
        locked: () => handOver(waitingFor(options.lockTimeoutMs, clock, onClose)),
        unlocked: () => handOver(),
      },
      this.#parts,
    );
  }

  /** A former mode is done with when its exchanges have ended, and the nodes have what it had. */
  async #end(former: Mode): Promise<void> {
    await former.exchanges.ended();
    while (former.gauges().unsavedSessions > 0 && !this.#isClosing) await this.#pause();
    await former.drain();
    this.#keep(this.#formers.filter((mode) => mode !== former));
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#parts.clock.after(lookEveryMs, resolve));
  }
}
