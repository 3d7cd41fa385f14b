import type { CommonOptions, NonStickyOptions, SessionManager, StickyOptions } from "@msm/core";
import type { Context } from "koa";
import type { Session } from "koa-session";
import type { PreviousOptions } from "./nodes/previous.js";

/** What `session()` takes: koa-session's options, and msm's or a store. */
export type SessionOptions = NodesOptions | StoreOptions;

/** Sessions on msm's nodes, or in this process' memory where no nodes are named. */
export type NodesOptions = OwnManagerOptions | ReadyManagerOptions;

/** A manager of its own: koa-session's options, and all of `createSessionManager()`. */
export type OwnManagerOptions = KoaOptions &
  KoaCookieOptions &
  Omit<CommonOptions, "secret"> & {
    /** Signs cookies and seals records, see `createSessionManager()`. Default: derived from `app.keys`. */
    readonly secret?: CommonOptions["secret"] | undefined;
    readonly previous?: PreviousOptions | undefined;
    readonly manager?: undefined;
    readonly store?: undefined;
    readonly ContextStore?: undefined;
  } & (StickyOptions | NonStickyOptions);

/** A manager that the application made itself, for instance in order to share it with another framework. */
export interface ReadyManagerOptions extends KoaOptions {
  readonly manager: SessionManager;
  readonly previous?: PreviousOptions | undefined;
  readonly store?: undefined;
  readonly ContextStore?: undefined;
}

/** Sessions in a store made for koa-session: its features, none of msm's nodes. */
export interface StoreOptions extends KoaOptions, KoaCookieOptions {
  /** Any koa-session store. */
  readonly store?: SessionStore | undefined;
  /** Instead of `store`: a class whose instances are stores; each request makes one. */
  readonly ContextStore?: (new (ctx: Context) => SessionStore) | undefined;
  /** Milliseconds after its creation at which a session expires, however busy it is. Default: never. */
  readonly absoluteTimeoutMs?: number | undefined;
  /** The longest that a call of the store may take, in milliseconds; then the request fails with 503. Default 10,000. */
  readonly storeTimeoutMs?: number | undefined;
  readonly manager?: undefined;
}

/** What koa-session does beside storing, in all ways to store. */
export interface KoaOptions {
  /** Whether the session is saved by itself. False: by `ctx.session.manuallyCommit()` alone. Default true. */
  readonly autoCommit?: boolean | undefined;
  /** Whether each response sends the cookie anew, so that its age begins anew. Default false. */
  readonly rolling?: boolean | undefined;
  /** Whether the cookie is sent anew once less than half of its age is left. Default false. */
  readonly renew?: boolean | undefined;
  /** Carries the session's id in place of a cookie, for instance in a header. */
  readonly externalKey?: ExternalKey | undefined;
  /** Makes the id of a new session, which nobody may guess. */
  readonly genid?: ((ctx: Context) => string) | undefined;
  /** First part of the ids of new sessions; of no effect beside `genid`. */
  readonly prefix?: string | undefined;
  /** Says whether a session that was found may be used; where it may not, another one begins. */
  readonly valid?: ((ctx: Context, session: Partial<Session>) => unknown) | undefined;
  /** Called before a session is saved; may change it. */
  readonly beforeSave?: ((ctx: Context, session: Session) => void) | undefined;
}

/** Where `externalKey` finds and leaves the session's id. */
export interface ExternalKey {
  get(ctx: Context): string | undefined;
  set(ctx: Context, id: string): void;
}

/** koa-session's options for the cookie, those of the `cookies` package among them. */
export interface KoaCookieOptions {
  /** The cookie's name. Default "koa.sess". */
  readonly key?: string | undefined;
  /** Milliseconds that the browser keeps the cookie, and that a session lives; "session": until it is closed. Default: as that, and a day. */
  readonly maxAge?: number | "session" | undefined;
  /** Whether an earlier cookie of the name in the same response gives way. Default true. */
  readonly overwrite?: boolean | undefined;
  /** Default true. */
  readonly httpOnly?: boolean | undefined;
  /** Whether `app.keys` sign the cookie. Default true. */
  readonly signed?: boolean | undefined;
  /** Default: as the request came in. */
  readonly secure?: boolean | undefined;
  readonly sameSite?: boolean | "strict" | "lax" | "none" | "Strict" | "Lax" | "None" | undefined;
  /** Default "/". */
  readonly path?: string | undefined;
  readonly domain?: string | undefined;
  readonly priority?: "low" | "medium" | "high" | undefined;
  readonly partitioned?: boolean | undefined;
}

/** A store as koa-session takes it. Each method may return a promise. */
export interface SessionStore {
  /** @returns the data that `set` was given; undefined or null where there is none */
  get(id: string, maxAge: number | "session" | undefined, details: StoreDetails): unknown;
  /** @param maxAge milliseconds that the data is to be kept at least; "session": until nobody knows when */
  set(
    id: string,
    data: StoredData,
    maxAge: number | "session" | undefined,
    details: StoreDetails & { readonly changed: boolean },
  ): unknown;
  destroy(id: string, details: Pick<StoreDetails, "ctx">): unknown;
}

/** What a store is told besides. */
export interface StoreDetails {
  readonly ctx: Context;
  readonly rolling: boolean;
}

/** A session's data as koa-session stores it. */
export interface StoredData {
  readonly [name: string]: unknown;
  /** When it expires: milliseconds since 1970. */
  readonly _expire?: number;
  /** The age of its cookie in milliseconds. */
  readonly _maxAge?: number;
  /** That its cookie lasts until the browser is closed. */
  readonly _session?: boolean;
}
