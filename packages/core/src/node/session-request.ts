import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { SessionRequest } from "../life-cycle/exchange.js";

/** What a framework knows better than Node's request. */
export interface RequestDetails {
  /** Path and query as the client sent them; for frameworks that rewrite `req.url`, as Express does in mounts. */
  readonly url?: string;
  /** Whether the client spoke TLS, to us or to a proxy that we trust. Default: whether it did to us. */
  readonly secure?: boolean;
}

/** Gives the part of a Node request that a session needs. */
export function sessionRequestOf(
  req: IncomingMessage | Http2ServerRequest,
  details: RequestDetails = {},
): SessionRequest {
  return {
    method: req.method ?? "GET",
    url: details.url ?? req.url ?? "/",
    cookieHeader: req.headers.cookie,
    secure: details.secure ?? isEncrypted(req),
  };
}

function isEncrypted({ socket }: IncomingMessage | Http2ServerRequest): boolean {
  return "encrypted" in socket && socket.encrypted === true;
}
