import type { SessionCookie } from "../cookie/session-cookie.js";
import { MsmError } from "../errors.js";
import type { Parts } from "../parts.js";
import type { AttributeTable } from "../session/attribute-table.js";
import type { LiveSession } from "../session/live-session.js";
import type { KeptAttributes, Session } from "../session/session.js";
import { SessionView } from "../session/session-view.js";
import type { CommitResult, SessionExchange, SessionRequest } from "./exchange.js";
import type { Keeper } from "./keeper.js";
import { create, type Heritage } from "./load.js";
import { RequestSession, type SessionHandle } from "./request-session.js";

const unneeded: CommitResult = { outcome: "unneeded" };

/** How an exchange begins: with a session that was found, or a new one. */
export interface ExchangeStart {
  readonly request: SessionRequest;
  /** The verified cookie of the request, whether its session was found or not. */
  readonly cookie: SessionCookie | undefined;
  readonly live: LiveSession;
  readonly isNew: boolean;
}

/** One request's exchange, in either mode. */
export class RequestExchange implements SessionExchange {
  readonly session: Session;
  readonly #start: ExchangeStart;
  readonly #keeper: Keeper;
  readonly #parts: Parts;
  readonly #mergesAtStart: number;
  readonly #entered: LiveSession[] = [];
  /** Sessions under former ids, which end once the new one is stored. */
  #retired: LiveSession[] = [];
  #view: SessionView;
  /** Newest change that must be saved before this request may be answered. */
  #owed = 0;
  #commits: Promise<CommitResult> = Promise.resolve(unneeded);
  #failed = false;
  /** That a change of this request gave way in a conflict: no later commit may say that it worked. */
  #lost: MsmError | undefined;
  #renewCookie = false;
  #cookieMaxAgeMs: number | undefined;
  #headersSent = false;
  #ended = false;

  constructor(start: ExchangeStart, keeper: Keeper, parts: Parts) {
    this.#start = start;
    this.#keeper = keeper;
    this.#parts = parts;
    this.#mergesAtStart = start.live.merges;
    if (start.cookie?.id === start.live.identity.id) start.live.announcedNode = start.cookie.node;
    this.#view = this.#enter(start.live);
    this.#owed = start.live.owedFromStart;
    this.session = new RequestSession(this.#handle());
  }

  cookie(): string | undefined {
    this.#headersSent = true;
    if (this.#failed) return undefined;
    const { live } = this.#view;
    const { cookies } = this.#parts;
    const context = { secure: this.#start.request.secure, maxAgeMs: this.#cookieMaxAgeMs };
    if (!live.announced || live.destroyed)
      return this.#endedAny ? cookies.clearingHeader(context) : undefined;

    const value = cookies.value(live.identity.id, live.node, this.#keeper.route);
    const lasts = (this.#cookieMaxAgeMs ?? this.#parts.options.cookie.maxAgeMs) !== undefined;
    // After a merge the newest state is here: the client's next request shall come here, not to the other writer.
    const renew =
      (lasts && this.#renewCookie) || (this.#keeper.route !== undefined && live.merges > this.#mergesAtStart);
    if (!renew && value === this.#start.cookie?.value) return undefined;
    live.announcedNode = live.node;
    return cookies.header(value, context);
  }

  commit(): Promise<CommitResult> {
    this.#commits = this.#commits.then(() => this.#commitOnce());
    return this.#commits;
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#commits;
    for (const live of this.#entered) this.#keeper.leave(live);
    this.#parts.exchanges.end();
  }

  get #endedAny(): boolean {
    return (
      this.#start.cookie !== undefined && (this.#view.live.destroyed || this.#view.live !== this.#start.live)
    );
  }

  #enter(live: LiveSession): SessionView {
    this.#keeper.enter(live);
    this.#entered.push(live);
    return new SessionView(live);
  }

  async #commitOnce(): Promise<CommitResult> {
    if (this.#lost !== undefined) return { outcome: "failed", error: this.#lost };
    // A regenerate() while this commit is under way is the next one's.
    const view = this.#view;
    const retired = this.#retired;
    try {
      this.#owed = Math.max(this.#owed, view.fold());
      const outcome = await this.#keep(view.live, this.#owed);
      this.#retired = this.#retired.filter((live) => !retired.includes(live));
      for (const live of retired) await this.#endFormer(live);
      this.#failed = false;
      return outcome === "unneeded" ? unneeded : { outcome };
    } catch (thrown) {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      this.#failed = true;
      if (error.code === "MSM_ERR_CONFLICT") this.#lost = error;
      this.#parts.events.emit("commitFailed", { session: view.live.identity.name, error });
      return { outcome: "failed", error };
    }
  }

  async #keep(live: LiveSession, owed: number): Promise<CommitResult["outcome"]> {
    if (owed === 0 || live.isSaved(owed)) return "unneeded";
    if (live.destroyed) return "discarded";
    if (this.#headersSent && live.stored === undefined && this.#start.cookie?.id !== live.identity.id) {
      throw new MsmError(
        "MSM_ERR_HEADERS_SENT",
        "a new session got its first attribute after the response's headers were sent, so the client cannot be told its id",
      );
    }
    this.#renewCookie = true;
    return this.#keeper.keep(live, owed);
  }

  /** The client goes on under the new id. Nodes that do not take the end of the old one now get it when they do. */
  async #endFormer(live: LiveSession): Promise<void> {
    await this.#keeper.destroy(live).catch((error: unknown) => {
      if (!(error instanceof MsmError) || error.code !== "MSM_ERR_STORAGE_UNAVAILABLE") throw error;
    });
  }

  async #regenerate(keep: KeptAttributes): Promise<void> {
    if (this.#headersSent) {
      throw new MsmError("MSM_ERR_HEADERS_SENT", "regenerate() came after the response's headers were sent");
    }
    const view = this.#view;
    const former = view.live;
    const heritage: Heritage | undefined =
      keep === "none"
        ? undefined
        : {
            table: pick(view.preview(), keep),
            idleTimeoutMs: former.idleTimeoutMs,
            createdAtMs: former.createdAtMs,
          };
    // What this request changed goes to the new session alone: others may hold the old one, and know its id.
    view.revert();
    const next = create(this.#parts, heritage);
    if (former.announced && !former.destroyed) this.#retired = [...this.#retired, former];
    this.#view = this.#enter(next);
    this.#owed = next.owedFromStart;
    this.#lost = undefined;
    this.#parts.events.emit("regenerated", { session: next.identity.name, from: former.identity.name });
  }

  async #destroy(): Promise<void> {
    const { live } = this.#view;
    const retired = this.#retired;
    this.#retired = [];
    this.#owed = 0;
    this.#lost = undefined;
    for (const former of retired) await this.#endFormer(former);
    await this.#keeper.destroy(live);
  }

  async #reload(): Promise<void> {
    const { live } = this.#view;
    const reloaded = await this.#keeper.reload(live);
    if (reloaded === undefined) throw new MsmError("MSM_ERR_SESSION_GONE", "the session is on no node");
    this.#view.revert();
    if (reloaded !== live) this.#view = this.#enter(reloaded);
    this.#owed = 0;
    this.#lost = undefined;
  }

  #handle(): SessionHandle {
    const view = () => this.#view;
    return {
      view,
      isNew: this.#start.isNew,
      setIdleTimeoutMs: (ms) => {
        const { live } = this.#view;
        live.idleTimeoutMs = ms;
        if (live.announced) this.#owed = live.changes;
      },
      setCookieMaxAgeMs: (ms) => {
        this.#cookieMaxAgeMs = ms;
        this.#renewCookie = true;
      },
      cookieMaxAgeMs: () => this.#cookieMaxAgeMs ?? this.#parts.options.cookie.maxAgeMs,
      save: async () => {
        const { error } = await this.commit();
        if (error !== undefined) throw error;
      },
      reload: () => this.#reload(),
      regenerate: (keep) => this.#regenerate(keep),
      destroy: () => this.#destroy(),
      touch: () => {
        this.#renewCookie = true;
      },
    };
  }
}

function pick(table: AttributeTable, keep: KeptAttributes): AttributeTable {
  if (keep === "all" || keep === "none") return table;
  return new Map([...table].filter(([name]) => keep.includes(name)));
}
