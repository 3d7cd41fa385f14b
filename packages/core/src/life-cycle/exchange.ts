import type { SessionTokens } from "../cookie/session-tokens.js";
import type { MsmError } from "../errors.js";
import type { Session } from "../session/session.js";

/** The part of an HTTP request that a session needs. Every adapter builds one. */
export interface SessionRequest {
  readonly method: string;
  /** Path and query as the client sent them, e.g. "/cart?item=3". */
  readonly url: string;
  /** The raw Cookie header; undefined where the client sent none. */
  readonly cookieHeader: string | undefined;
  /** True for TLS, or where a trusted proxy vouches for it. Decides `Secure` where `cookie.secure` is "auto". */
  readonly secure: boolean;
  /** The framework's pattern for the path, e.g. "/items/:id", where it is known already. `locking: "auto"` learns by it. */
  readonly routePattern?: string;
  /**
   * How this request's client carries the name of its session, where that is not msm's cookie: reads it from the request,
   * and makes what `exchange.cookie()` announces. Default: `manager.tokens`.
   */
  readonly tokens?: SessionTokens;
  /**
   * Makes the id of a session that begins with this request: 1 to 128 characters that a cookie may hold (RFC 6265), and
   * nobody may guess it. Default: 192 random bits, as 48 hexadecimal digits.
   */
  readonly newId?: () => string;
  /** The application's own choice for this request, whatever `locking` says: true to have the session to itself. */
  readonly lock?: boolean;
  /**
   * Calls `listener` when the client goes away before it is answered, or has already: a request that waits for its session then gives up.
   * Called only where a request has to wait. @returns what ends the subscription
   */
  readonly onClose?: (listener: () => void) => () => void;
}

/** Which cookie is asked for. */
export interface CookieRequest {
  /** True to send the cookie of a stored session also where the client has it already, as rolling cookies want. Default false. */
  readonly renew?: boolean;
}

/** How to commit. */
export interface CommitOptions {
  /** True where the request goes on, and keeps its session to itself where it does so now. Default false. */
  readonly keepLease?: boolean;
}

/** One request and response, and the session they hold. An adapter uses nothing else of the core. */
export interface SessionExchange {
  /** Undefined only with `onStorageError: "without-session"`, while the storage cannot be reached. */
  readonly session: Session | undefined;

  /**
   * The Set-Cookie value that this response needs, or undefined. Synchronous, to be asked when headers are written,
   * after `commit()`. The session id is final from then on: `regenerate()` rejects with MSM_ERR_HEADERS_SENT.
   */
  cookie(options?: CookieRequest): string | undefined;

  /**
   * Saves what changed since the last call, and the copies that the mode promises. Never rejects: what went wrong is
   * in the result, and in the events. Without a change it costs nothing, so hooks may call it as often as they like.
   * Lets the next request of the session in, if this one had it to itself.
   *
   * @returns a promise only where something has to be waited for
   */
  commit(options?: CommitOptions): CommitResult | Promise<CommitResult>;

  /** The request is over: whatever is still held for it is let go. Safe to call twice; never rejects. */
  end(): Promise<void>;
}

export interface CommitResult {
  /**
   * - `unneeded`: nothing had changed
   * - `stored`: safe as the mode promises
   * - `kept`: in this process only, as no node can be reached (sticky); pushed when one is back
   * - `discarded`: another request destroyed the session in the meantime; the destruction stands
   * - `failed`: see `error`; the client must not be told that it worked
   */
  readonly outcome: "unneeded" | "stored" | "kept" | "discarded" | "failed";
  readonly error?: MsmError;
}
