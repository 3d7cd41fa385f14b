import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { SessionTokens } from "../cookie/session-tokens.js";
import type { SessionRequest } from "../life-cycle/exchange.js";

/** What a framework knows better than Node's request. */
export interface RequestDetails {
  /** Path and query as the client sent them; for frameworks that rewrite `req.url`, as Express does in mounts. */
  readonly url?: string;
  /** Whether the client spoke TLS, to us or to a proxy that we trust. Default: whether it did to us. */
  readonly secure?: boolean;
  /** The framework's pattern for the path, such as "/items/:id", where it is known already. */
  readonly routePattern?: string | undefined;
  /** Whether the application wants the session to itself for this request, whatever `locking` says. */
  readonly lock?: boolean | undefined;
  /** How the client carries the name of its session, where that is not msm's cookie. */
  readonly tokens?: SessionTokens | undefined;
  /** Makes the id of a session that begins with this request. */
  readonly newId?: (() => string) | undefined;
}

/** Gives the part of a Node request that a session needs. */
export function sessionRequestOf(
  req: IncomingMessage | Http2ServerRequest,
  details: RequestDetails = {},
): SessionRequest {
  return new NodeSessionRequest(req, details);
}

/**
 * A class, as V8 puts literals of an expression that often live long into the old generation at once: with one of them would go
 * the whole request, which is garbage a moment later, and all that to be collected in vain.
 */
class NodeSessionRequest implements SessionRequest {
  readonly method: string;
  readonly url: string;
  readonly cookieHeader: string | undefined;
  readonly secure: boolean;
  readonly onClose: NonNullable<SessionRequest["onClose"]>;
  declare readonly routePattern?: string;
  declare readonly lock?: boolean;
  declare readonly tokens?: SessionTokens;
  declare readonly newId?: () => string;

  constructor(req: IncomingMessage | Http2ServerRequest, details: RequestDetails) {
    const { url, secure, routePattern, lock, tokens, newId } = details;
    this.method = req.method ?? "GET";
    this.url = url ?? req.url ?? "/";
    this.cookieHeader = req.headers.cookie;
    this.secure = secure ?? isEncrypted(req);
    this.onClose = (listener) => onClientGone(req, listener);
    if (routePattern !== undefined) this.routePattern = routePattern;
    if (lock !== undefined) this.lock = lock;
    if (tokens !== undefined) this.tokens = tokens;
    if (newId !== undefined) this.newId = newId;
  }
}

/** The request's own `close` says that it was read to its end; the connection's, that nobody waits for an answer. */
function onClientGone(req: IncomingMessage | Http2ServerRequest, listener: () => void): () => void {
  const connection = "stream" in req ? req.stream : req.socket;
  if (connection.destroyed) listener();
  connection.once("close", listener);
  return () => void connection.removeListener("close", listener);
}

function isEncrypted({ socket }: IncomingMessage | Http2ServerRequest): boolean {
  return "encrypted" in socket && socket.encrypted === true;
}
