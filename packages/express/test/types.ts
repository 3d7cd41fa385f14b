/**
 * Compiled by `pnpm check`, and never run: what programs written for express-session with its types say goes on compiling.
 */
import http from "node:http";
import http2 from "node:http2";
import session, {
  type Cookie,
  MemoryStore,
  type SessionData,
  type SessionOptions,
  Store,
} from "@msm/express";
import express from "express";
import type expressSession from "express-session";

declare module "express-session" {
  interface SessionData {
    typed: { readonly since: Date };
  }
}

/** Compiles where the two are the same type, and nothing is `any`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_Statement extends true>(): void => {};

const app = express();
const sessions = session({ secret: "x", resave: false, saveUninitialized: false });
app.use(sessions);
app.use("/locked", sessions.locked);

app.get("/", async (req, res) => {
  holds<Same<typeof req.session.typed, { readonly since: Date } | undefined>>();
  holds<Same<typeof req.sessionID, string>>();
  holds<Same<typeof req.session.cookie.maxAge, number | undefined>>();
  // @ts-expect-error: there is no such attribute
  void req.session.untyped;

  req.session.save((error) => res.send(String(error)));
  req.session.regenerate((error) => res.send(String(error)));
  req.session.regenerate({ keep: ["typed"] }, (error) => res.send(String(error)));
  await req.session.regenerate({ keep: true });
  await req.session.save();
  req.session.touch().resetMaxAge().cookie.expires = null;
  req.session.cookie.partitioned = true;
});

// Options that were typed for express-session are options of ours.
const options: expressSession.SessionOptions = {
  secret: ["a", Buffer.from("b")],
  name: "connect.sid",
  genid: (req) => req.path,
  cookie: { maxAge: 60_000, sameSite: "none", secure: "auto", signed: true },
};
session(options);
session({ ...options, compat: 1, cookie: (req) => ({ path: req.baseUrl, sameSite: "auto" }) });

holds<Same<session.SessionOptions, SessionOptions>>();
holds<Same<session.SessionData, SessionData>>();
holds<Same<session.Session, expressSession.Session>>();
holds<Same<Cookie, expressSession.Cookie>>();
const typed: session.CookieOptions = { maxAgeMs: 60_000, priority: "high" };
session({ secret: "x", cookie: typed });
// @ts-expect-error: there is no such option
session({ secret: "x", savesUninitialized: true });
// @ts-expect-error: a number of milliseconds
session({ secret: "x", cookie: { maxAge: "1d" } });

class OwnStore extends Store {
  override get(_id: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    callback(undefined, null);
  }
  override set(_id: string, _session: SessionData, callback?: (error?: unknown) => void): void {
    callback?.();
  }
  override destroy(_id: string, callback?: (error?: unknown) => void): void {
    callback?.();
  }
}
holds<Same<InstanceType<typeof session.MemoryStore>, MemoryStore>>();
export const stores: Store[] = [new OwnStore(), new session.MemoryStore(), new MemoryStore()];

// Without Express.
http.createServer((req, res) => sessions(req, res, () => res.end()));
http2.createServer((req, res) => sessions(req, res, () => res.end()));
