import library from "@fastify/session";

/** The session as handlers of @fastify/session see it. */
export type FastifySessionObject = library.FastifySessionObject;

/** @fastify/session's options, but for the store. */
export type LibraryOptions = Omit<library.FastifySessionOptions, "store">;

/** What a cookie is given. `maxAge` is in milliseconds. */
export type LibraryCookieOptions = library.CookieOptions;

/** A store of @fastify/session or of express-session: methods that take a callback. */
export interface SessionStore extends library.SessionStore {
  /** Prolongs a session's life without storing it. Used instead of `set` where a store has it. */
  touch?(
    sessionId: string,
    session: Parameters<library.SessionStore["set"]>[1],
    callback: StoreCall,
  ): unknown;
}

type StoreCall = (error?: unknown) => void;

/**
 * @fastify/session's store in memory, as a class to inherit from too. It is for tests: it forgets nothing until its process
 * ends.
 */
// The library's types call it an instance.
export const MemoryStore: typeof library.MemoryStore = library.MemoryStore;
export type MemoryStore = library.MemoryStore;
