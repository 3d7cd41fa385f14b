import { type StoreSessionOptions, session } from "@msm/express";
import express, { type Express } from "express";
import expressSession from "express-session";
import { onTestFinished } from "vitest";
import { Client } from "../client.js";
import { serve } from "../serve.js";

declare module "express-session" {
  interface SessionData {
    count: number;
    items: string[];
  }
}

/** Serves an application with sessions in a store, until the test is over. Errors are answered with their message. */
export async function storeApp(
  routes: (app: Express) => void,
  options: Partial<StoreSessionOptions> = {},
): Promise<{ url: string; client(): Client; errors: unknown[]; store: StoreSessionOptions["store"] }> {
  const store = options.store ?? new expressSession.MemoryStore();
  const errors: unknown[] = [];
  const app = express();
  app.use(session({ secret: "keyboard cat", ...options, store }));
  routes(app);
  app.use(((error, _req, res, next) => {
    errors.push(error);
    if (res.headersSent) return next(error);
    if (typeof error.status === "number") res.status(error.status);
    else if (res.statusCode < 400) res.status(500);
    res.send(error.message);
  }) satisfies express.ErrorRequestHandler);
  const { url, close } = await serve(app);
  onTestFinished(close);
  return { url, client: () => new Client(url), errors, store };
}
