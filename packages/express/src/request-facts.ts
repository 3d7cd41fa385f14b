import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { Request } from "express";

/** A request of Express, or of Node's http, https or http2 module. */
export type AnyRequest = Request | IncomingMessage | Http2ServerRequest;

/** Says whether a request came in over TLS: to us, or to a proxy that is trusted. */
export type SecurityOf = (req: AnyRequest) => boolean;

/**
 * As express-session's option `proxy`: TLS to us always counts; beside it
 * - undefined: what Express says, by its `trust proxy`
 * - true: the first X-Forwarded-Proto
 * - false: nothing
 */
export function securityBy(proxy: boolean | undefined): SecurityOf {
  if (proxy === undefined) return (req) => isEncrypted(req) || ("secure" in req && req.secure === true);
  return proxy ? (req) => isEncrypted(req) || forwardedProtocolOf(req) === "https" : isEncrypted;
}

function isEncrypted({ socket }: AnyRequest): boolean {
  return "encrypted" in socket && socket.encrypted === true;
}

function forwardedProtocolOf({ headers }: AnyRequest): string {
  const header = headers["x-forwarded-proto"] ?? "";
  return (Array.isArray(header) ? header.join() : header).split(",")[0]!.trim().toLowerCase();
}

/** Path and query as the client sent them: Express and connect cut `url` in mounts. */
export function originalUrlOf(req: AnyRequest): string {
  return (req as { readonly originalUrl?: string }).originalUrl ?? req.url ?? "/";
}

/** The path as the client sent it, without the query; "/" where there is none. */
export function originalPathOf(req: AnyRequest): string {
  const url = originalUrlOf(req);
  // A client that takes us for a proxy sends a whole URL.
  const path = !url.startsWith("/") && URL.canParse(url) ? new URL(url).pathname : url;
  const end = path.search(/[?#]/);
  return (end === -1 ? path : path.slice(0, end)) || "/";
}

/** A property that a middleware such as cookie-parser put on the request; undefined where there is none. */
export function propertyOf(req: AnyRequest, name: "secret" | "cookies" | "signedCookies"): unknown {
  return Reflect.get(req, name);
}
