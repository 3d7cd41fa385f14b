import "./types.js";
import { MemoryStore } from "./library.js";
import { fastifySession } from "./plugin.js";

// Re-exported and not merely imported: the build drops an import of nothing, and `request.session` would lose its type.
export type { FastifySessionObject, LibraryCookieOptions as CookieOptions, SessionStore } from "./library.js";
export type { ManagerOptions, NodeCookieOptions, NodesOptions } from "./nodes/node-settings.js";
export type { PreviousOptions } from "./nodes/previous.js";
export type { FastifySessionOptions } from "./options.js";
export type { StoreOptions } from "./store/store-settings.js";
export { fastifySession, MemoryStore, MemoryStore as Store };
export default fastifySession;
