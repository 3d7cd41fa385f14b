import expressSession from "express-session";
import type { CompatOptions } from "./compat-options.js";
import { session as createSession } from "./middleware.js";

const { Store, Session, Cookie, MemoryStore } = expressSession;

/** The middleware; with express-session's classes on it, as `require("express-session")` has them. */
export const session = Object.assign(createSession, { Store, Session, Cookie, MemoryStore });

/** For who writes `session.SessionData`, as with express-session. */
export declare namespace session {
  export type Store = expressSession.Store;
  export type Session = expressSession.Session;
  export type SessionData = expressSession.SessionData;
  export type Cookie = expressSession.Cookie;
  export type MemoryStore = expressSession.MemoryStore;
  // Not by their names: the bundler of types would have them name themselves.
  export type SessionOptions = Parameters<typeof createSession>[0];
  export type SessionMiddleware = ReturnType<typeof createSession>;
  export type CookieOptions = Exclude<NonNullable<CompatOptions["cookie"]>, (...args: never[]) => unknown>;
}
