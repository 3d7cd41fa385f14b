import type { IncomingMessage } from "node:http";

// Those that speak of one connection only: RFC 9110, section 7.6.1.
const ofOneConnection = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
]);

// Only we say these: what a client claims of itself is not passed on.
const ours = new Set(["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);

/** Headers as names and values in turn, repeated ones kept apart. */
export type RawHeaders = string[];

/** The request's headers for a process: without those of the connection, with X-Forwarded-*. */
export function forwardedHeaders(request: IncomingMessage): RawHeaders {
  // `Expect: 100-continue` has been answered by the balancer, and must not be answered a second time.
  const dropped = (name: string) => ofOneConnection.has(name) || ours.has(name) || name === "expect";
  return [...without(request.rawHeaders, dropped), ...forwardedFor(request)];
}

/** The same for an upgrade, which is all about the connection. */
export function upgradeHeaders(request: IncomingMessage): RawHeaders {
  return [...without(request.rawHeaders, (name) => ours.has(name)), ...forwardedFor(request)];
}

/** A response's headers for the client. */
export function answeredHeaders(response: IncomingMessage): RawHeaders {
  // Node frames the body anew.
  const dropped = (name: string) => ofOneConnection.has(name) || name === "transfer-encoding";
  return without(response.rawHeaders, dropped);
}

function forwardedFor(request: IncomingMessage): RawHeaders {
  const headers = ["X-Forwarded-For", request.socket.remoteAddress ?? "unknown", "X-Forwarded-Proto", "http"];
  return request.headers.host === undefined
    ? headers
    : [...headers, "X-Forwarded-Host", request.headers.host];
}

function without(headers: readonly string[], isDropped: (name: string) => boolean): RawHeaders {
  const kept: RawHeaders = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const [name = "", value = ""] = headers.slice(at, at + 2);
    if (!isDropped(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
