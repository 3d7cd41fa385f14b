import { session } from "./middleware.js";

export type { ReadyManager, SessionMiddleware, SessionOptions } from "./middleware.js";
export type {} from "./promises.js";
export { session };
export default session;
