import { validateHeaderValue } from "node:http";
import type { NodeResponse } from "./node-response.js";

/**
 * Does of `writeHead(statusCode, [statusMessage], [headers])` all but the sending: puts status and headers on the
 * response, and throws at what Node throws at. As in Node, headers given here replace those set before.
 * @returns the status code
 */
export function takeHead(res: NodeResponse, args: readonly unknown[]): number {
  const [statusCode, second, third] = args;
  const status = checkedStatus(statusCode);
  if (typeof second === "string") {
    validateHeaderValue("statusMessage", second);
    res.statusMessage = second;
    putHeaders(res, third);
  } else {
    putHeaders(res, third ?? second);
  }
  res.statusCode = status;
  return status;
}

/** Puts a status on the response. @returns the status code @throws as Node */
export function takeStatus(res: NodeResponse, statusCode: unknown): number {
  const status = checkedStatus(statusCode);
  res.statusCode = status;
  return status;
}

function checkedStatus(statusCode: unknown): number {
  const status = Number(statusCode) | 0;
  if (status >= 100 && status <= 999) return status;
  throw Object.assign(new RangeError(`Invalid status code: ${String(statusCode)}`), {
    code: "ERR_HTTP_INVALID_STATUS_CODE",
  });
}

/** A head of one shape: status code and headers. */
export type PlainHead = readonly [statusCode: unknown, headers: object];

/** What RFC 9110 has for a name. */
const headerName = /^[\w!#$%&'*+\-.^`|~]+$/;

/** What Node puts into a head as it is. */
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Whether a head can be handed on to Node as it came, for it is all that there is: `writeHead(statusCode, headers)` of HTTP/1 where
 * no header was set before, and nothing that Node throws at. `takeHead()` and Node's walk through what it took would be
 * several times the work, and that for an answer which nobody changes any more.
 */
export function isPlainHead(res: NodeResponse, args: readonly unknown[]): args is PlainHead {
  const headers = args[1];
  if (args.length !== 2 || typeof headers !== "object" || headers === null || Array.isArray(headers))
    return false;
  if (!("_implicitHeader" in res) || res.getHeaderNames().length > 0) return false;
  for (const name in headers) {
    const value: unknown = headers[name as keyof typeof headers];
    if (typeof value === "string" ? !headerValue.test(value) : typeof value !== "number") return false;
    if (!headerName.test(name)) return false;
  }
  return true;
}

/** Takes the three shapes that Node takes: an object, a flat list of names and values, a list of pairs. */
function putHeaders(res: NodeResponse, headers: unknown): void {
  if (Array.isArray(headers)) putHeaderList(res, headers);
  else if (typeof headers === "object" && headers !== null) {
    for (const [name, value] of Object.entries(headers)) if (name) res.setHeader(name, value);
  }
}

type HeaderPairs = readonly (readonly [name: string, value: string | string[]])[];
type HeaderList = readonly string[] | HeaderPairs;

const isPairs = (list: HeaderList): list is HeaderPairs => Array.isArray(list[0]);

function putHeaderList(res: NodeResponse, list: HeaderList): void {
  const pairs = isPairs(list) ? list : pairsOf(list);
  const seen = new Set<string>();
  for (const [name, value] of pairs) {
    const lowerCase = String(name).toLowerCase();
    if (seen.has(lowerCase)) for (const single of [value].flat()) res.appendHeader(name, single);
    else res.setHeader(name, Array.isArray(value) ? [...value] : value);
    seen.add(lowerCase);
  }
}

function pairsOf(flat: readonly string[]): [string, string][] {
  if (flat.length % 2 !== 0) {
    throw Object.assign(new TypeError("The argument 'headers' is invalid: a value is missing"), {
      code: "ERR_INVALID_ARG_VALUE",
    });
  }
  return Array.from({ length: flat.length / 2 }, (_, pair) => [flat[2 * pair]!, flat[2 * pair + 1]!]);
}

const none: readonly string[] = [];

/** The Set-Cookie headers that stand on the response, as a list of its own. */
export function cookiesOf(res: Pick<NodeResponse, "getHeader">): readonly string[] {
  const cookies = res.getHeader("Set-Cookie");
  if (cookies === undefined) return none;
  return Array.isArray(cookies) ? [...cookies] : [String(cookies)];
}

/** What `addSessionCookie` needs of a response; Fastify's reply has it under other names. */
type HeadOfResponse = Pick<NodeResponse, "getHeader" | "hasHeader" | "setHeader">;

/**
 * Adds the session's cookie beside those that stand there, and keeps shared caches from giving it to others: where the
 * application chose nothing, with `Cache-Control: no-store` (RFC 9111 section 7.3).
 */
export function addSessionCookie(res: HeadOfResponse, cookie: string): void {
  // Not with `appendHeader()`: that adds to the very list the application gave, and where it gives the same list each
  // time, the next client would get this one's session.
  const others = cookiesOf(res);
  res.setHeader("Set-Cookie", others.length === 0 ? cookie : [...others, cookie]);
  if (!res.hasHeader("Cache-Control") && !res.hasHeader("Expires"))
    res.setHeader("Cache-Control", "no-store");
}

/** Headers that speak of an answer's content, or send the client elsewhere. What speaks of the site (CORS, CSP) is none. */
const contentHeaders = [
  "accept-ranges",
  "age",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "etag",
  "expires",
  "last-modified",
  "link",
  "location",
  "refresh",
  "trailer",
  "transfer-encoding",
];

/** Makes the response as if nothing had been answered yet, but for `statusCode`. @param cookies what shall be set */
export function dropHead(res: NodeResponse, statusCode: number, cookies: readonly string[]): void {
  // Removing a header that is not there has effects in Node: it would not add it by itself any more.
  for (const name of contentHeaders) if (res.hasHeader(name)) res.removeHeader(name);
  if (cookies.length > 0) res.setHeader("Set-Cookie", cookies);
  else if (res.hasHeader("Set-Cookie")) res.removeHeader("Set-Cookie");
  // HTTP/2 has none, and warns whoever looks.
  if (Object.hasOwn(res, "statusMessage")) res.statusMessage = "";
  res.statusCode = statusCode;
}
