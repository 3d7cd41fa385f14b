/** What adapters on Node's http, https and http2 share. */
export { andThen } from "./and-then.js";
export { askStore, type StoreCallback } from "./ask-store.js";
export {
  cookieAgeOf,
  cookieAttribute,
  isStoredCookie,
  type StoredCookie,
  setCookieAge,
  withMaxAge,
} from "./cookie-age.js";
export { EndedSessions } from "./ended-sessions.js";
export { type HoldOptions, holdResponse } from "./hold-response.js";
export type { AnyServerResponse } from "./node-response.js";
export {
  type AdoptedRequest,
  adoptPrevious,
  type PreviousSession,
  type PreviousSessions,
} from "./previous-sessions.js";
export { addSessionCookie } from "./response-head.js";
export { type RequestDetails, sessionRequestOf } from "./session-request.js";
export { UnheededCalls } from "./unheeded-calls.js";
