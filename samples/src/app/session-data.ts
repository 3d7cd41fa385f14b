export {};

declare module "express-session" {
  /** What the demo keeps in a session. */
  interface SessionData {
    /** `/put` and `/list`. */
    cache: Record<string, string>;
    /** `/counter`: the last value given. */
    counter: number;
    /** `/autocounter`: the last value given. */
    autocounter: number;
    /** Who is logged in. */
    user: string;
  }
}
