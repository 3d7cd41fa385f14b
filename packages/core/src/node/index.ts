/** What adapters on Node's http, https and http2 share. */
export { type HoldOptions, holdResponse } from "./hold-response.js";
export type { AnyServerResponse } from "./node-response.js";
export { type RequestDetails, sessionRequestOf } from "./session-request.js";
