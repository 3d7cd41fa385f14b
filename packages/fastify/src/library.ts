import library from "@fastify/session";

/** The session as handlers of @fastify/session see it. */
export type FastifySessionObject = library.FastifySessionObject;

/** @fastify/session's options, but for the store. */
export type LibraryOptions = Omit<library.FastifySessionOptions, "store">;

/** What a cookie is given. `maxAge` is in milliseconds. */
export type LibraryCookieOptions = library.CookieOptions;

/**
 * A store of @fastify/session or of express-session: methods that take a callback. Whatever attributes an application declares,
 * its stores need not know them.
 */
export interface SessionStore {
  get(sessionId: string, callback: (error?: unknown, session?: object | null) => void): unknown;
  set(sessionId: string, session: object, callback: (error?: unknown) => void): unknown;
  destroy(sessionId: string, callback: (error?: unknown) => void): unknown;
  /** Prolongs a session's life without storing it. Used instead of `set` where a store has it. */
  touch?(sessionId: string, session: object, callback: (error?: unknown) => void): unknown;
}

/**
 * @fastify/session's store in memory, as a class to inherit from too. It is for tests: it forgets nothing until its process
 * ends.
 */
// The library's types call it an instance.
export const MemoryStore: typeof library.MemoryStore = library.MemoryStore;
export type MemoryStore = library.MemoryStore;
