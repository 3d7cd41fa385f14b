import { createSessionManager, type SessionManager, type SessionManagerOptions } from "@msm/core";
import Koa from "koa";
import Koa2 from "koa2";
import { afterEach } from "vitest";
import { serve } from "./serve.js";
import { type Visitor, visitor } from "./visitor.js";

/** The versions of Koa that the tests run with. */
export const versions = [
  ["Koa 3", Koa],
  ["Koa 2", Koa2],
] as const;

export const secret = "only for the tests of @msm/koa, 32 bytes and more";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

/** Serves the application until the end of the test. @returns its address */
export async function start(app: Pick<Koa, "callback" | "silent">): Promise<string> {
  const served = await serve(app);
  closings.push(() => served.close());
  return served.url;
}

/** Serves the application until the end of the test. @returns a browser without cookies */
export const visit = async (app: Pick<Koa, "callback" | "silent">): Promise<Visitor> =>
  visitor(await start(app));

/** A manager that is closed at the end of the test. */
export function newManager(options: Partial<SessionManagerOptions> = {}): SessionManager {
  const manager = createSessionManager({ secret, ...options } as SessionManagerOptions);
  closings.push(() => manager.close());
  return manager;
}

/** Closes what a test started at its end. */
export const closeLater = (close: () => unknown): void => void closings.push(close);
