import type { SessionExchange } from "@msm/core";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Callback } from "./callback-or-promise.js";
import type { LibraryCookieOptions, SessionStore } from "./library.js";

/** Where a session is put: a request, or what `decryptSession` was given in place of one. */
export interface SessionTarget {
  session: unknown;
  readonly protocol?: string;
}

/** What comes of asking for a request's session. */
export type Opening = SessionExchange | undefined;

/** Sessions kept in one of the ways that there are. Which one is chosen once, when the plugin is registered. */
export interface Sessions {
  /** Requests for other paths have no session. */
  readonly cookiePath: string;
  /** What is `request.sessionStore`. */
  readonly sessionStore: SessionStore;
  /**
   * Finds or makes the session of a request, and puts it into `request.session`.
   * @returns undefined where the request has to do without one; a promise only where something has to be waited for. Rejects where it is not known whether there is one
   */
  open(request: FastifyRequest, reply: FastifyReply): Opening | Promise<Opening>;
  /** Puts the session that a cookie's value names, or a new one, into `target.session`, for work that no response ends. */
  decrypt(value: string, target: SessionTarget, cookie: LibraryCookieOptions): Promise<void>;
  /** The error that the application sees where a commit failed. */
  errorFor(error: Error): Error;
  /** Saves what is still to be saved. */
  close(): Promise<void>;
}

/** Whether the client speaks TLS, to us or to a proxy that Fastify trusts. */
export const isSecure = ({ protocol }: Pick<SessionTarget, "protocol">): boolean => protocol === "https";

/** The two forms of `regenerate`: with the names to keep, or without. */
export function namesAndCallback(
  first: unknown,
  second: unknown,
): { names: unknown; callback: Callback | undefined } {
  if (typeof first === "function") return { names: undefined, callback: first as Callback };
  return { names: first, callback: second as Callback | undefined };
}
