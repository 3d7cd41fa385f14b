import type { Clock } from "../clock.js";
import type { ResolvedLocking } from "../options.js";
import { ReadOnlyRoutes } from "./read-only-routes.js";

/** What of a request decides whether it locks. */
export interface LockableRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** The framework's pattern for the path, such as "/items/:id", where it is known when the session is opened. */
  readonly routePattern?: string;
  /** The application's own choice for this request: true to have the session to itself, false not to. */
  readonly lock?: boolean;
}

/** How requests of one session are kept apart; chosen once, from `locking`. */
export interface Locking<R extends LockableRequest> {
  /** Whether this request is to have its session to itself from the start. */
  locks(request: R): boolean;
  /** Whether no request may overwrite what another one changed, though it did not lock. */
  readonly isStrict: boolean;
  /** Whether work that is no request has its session to itself, unless it says otherwise. */
  readonly locksWork: boolean;
  /** Takes note of what a request did with a session that was there. */
  learn(request: R, hasChanged: boolean): void;
}

/** Makes what `locking` asks for. */
export function createLocking<R extends LockableRequest>(
  option: ResolvedLocking<R>,
  clock: Clock,
): Locking<R> {
  switch (option.kind) {
    case "never":
      return locking((request) => request.lock === true, { locksWork: false });
    case "all":
      return locking((request) => request.lock ?? true);
    case "where":
      return locking((request) => request.lock ?? option.locks(request));
    case "auto":
      return autoLocking(clock);
  }
}

function locking<R extends LockableRequest>(
  locks: (request: R) => boolean,
  { locksWork = true, isStrict = false } = {},
): Locking<R> {
  return { locks, isStrict, locksWork, learn() {} };
}

/** A route is taken to change the session until it is known to read only; the version check catches a wrong guess. */
function autoLocking<R extends LockableRequest>(clock: Clock): Locking<R> {
  const routes = new ReadOnlyRoutes(clock);
  return {
    locks: (request) => request.lock ?? !routes.onlyReads(routeOf(request)),
    isStrict: true,
    locksWork: true,
    learn: (request, hasChanged) => routes.note(routeOf(request), hasChanged),
  };
}

/** Method and pattern; where the framework does not tell the pattern, the path with what looks like an id left open. */
export function routeOf({ method, url, routePattern }: LockableRequest): string {
  return `${method} ${routePattern ?? pathOf(url).split("/").map(withoutId).join("/")}`;
}

/** The path of a URL as the client sent it, without its query. */
export function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

const longestWord = 32;

/** Numbers, UUIDs, hashes: words of a path seldom hold a digit, but "v2" and the like do. */
function withoutId(segment: string): string {
  const isId = segment.length > longestWord || (/\d/.test(segment) && !/^v\d{1,2}$/.test(segment));
  return isId ? ":id" : segment;
}
