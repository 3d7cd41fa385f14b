import {
  type FaultyStorage,
  faulty,
  memcachedCommand,
  needsProgram,
  redisCommand,
  startServer,
} from "@msm/conformance";
import { memcachedStorage, redisStorage, type SessionManagerOptions } from "@msm/core";
import { session } from "@msm/express";
import express, { type Express } from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { serve } from "./serve.js";

declare module "express-session" {
  interface SessionData {
    user: string;
    notes: Record<string, string>;
  }
}

// What memcached-session-manager does for who has logged in when a request comes to another server, by the numbers in
// docs/original-behaviours.md. Its container logs users in by FORM and BASIC; here a handler does, with a new id and an
// attribute.

const credentials = { authorization: `Basic ${Buffer.from("ann:secret").toString("base64")}` };

function application(options: Partial<SessionManagerOptions>, storage: FaultyStorage): Express {
  const app = express();
  const sessions = session({
    ...options,
    secret: "the secret of these tests, of 32 bytes and more",
    nodes: [{ id: "n1", storage }],
  } as Parameters<typeof session>[0]);
  onTestFinished(() => sessions.manager.close());
  app.use(sessions);
  app.post("/login", async (req, res) => {
    await logIn(req, "ann");
    res.redirect(303, "/account");
  });
  app.use(async (req, res, next) => {
    const user = userOf(req.headers.authorization);
    if (req.session.user === undefined && user !== undefined) await logIn(req, user);
    if (req.session.user === undefined) res.status(401).end();
    else next();
  });
  app.get(
    "/account",
    (req, res) => void res.json({ user: req.session.user, notes: req.session.notes ?? {} }),
  );
  app.post("/notes/:name/:text", (req, res) => {
    req.session.notes = { ...req.session.notes, [req.params.name]: req.params.text };
    res.json(req.session.notes);
  });
  return app;
}

async function logIn(req: express.Request, user: string): Promise<void> {
  await req.session.regenerate();
  req.session.user = user;
}

function userOf(authorization: string | undefined): string | undefined {
  const encoded = /^Basic (.+)$/.exec(authorization ?? "")?.[1];
  return encoded && Buffer.from(encoded, "base64").toString().split(":")[0];
}

/** A browser with a jar for one cookie; follows no redirect by itself. */
function browser() {
  const jar: { cookie?: string } = {};
  const ask = async (method: string, url: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(url, { method, redirect: "manual", headers: { ...headers, ...jar } });
    const [setCookie] = answer.headers.getSetCookie();
    if (setCookie !== undefined) jar.cookie = setCookie.split(";")[0]!;
    return { status: answer.status, setCookie, text: await answer.text() };
  };
  return { ask, jar };
}

const kinds = [
  { kind: "memcached", ...needsProgram("memcached") },
  { kind: "redis", ...needsProgram("redis-server") },
] as const;

for (const { kind, skip, reason } of kinds) {
  describe.skipIf(skip).each(["sticky", "non-sticky"] as const)(`on ${kind}, %s${reason}`, (mode) => {
    /** Two servers of one application on the same node. */
    async function start() {
      const node = await startServer(kind === "redis" ? redisCommand() : memcachedCommand());
      onTestFinished(() => node.close());
      const { host, port } = node;
      const storage = faulty(
        kind === "redis"
          ? redisStorage({ url: `redis://${host}:${port}`, operationTimeoutMs: 5000 })
          : memcachedStorage({ host, port, operationTimeoutMs: 5000 }),
      );
      const serveAs = async (route: string) => {
        const options = mode === "sticky" ? { mode, route, backupTimeoutMs: 5000 } : { mode };
        const { url, close } = await serve(application(options, storage));
        onTestFinished(close);
        return url;
      };
      return { one: await serveAs("tc1"), two: await serveAs("tc2"), storage };
    }

    it.each([
      ["original 133: who has logged in by a form at one server is logged in at the other", "FORM"],
      ["original 134: so is who has logged in by credentials, and need not send them again", "BASIC"],
    ])("%s", async (_title, how) => {
      const { one, two } = await start();
      const { ask, jar } = browser();
      if (how === "FORM") expect((await ask("POST", `${one}/login`)).status).toBe(303);
      else expect((await ask("GET", `${one}/account`, credentials)).status).toBe(200);
      const before = jar.cookie!;

      const { status, text, setCookie } = await ask("GET", `${two}/account`);

      expect(status).toBe(200);
      expect(JSON.parse(text)).toMatchObject({ user: "ann" });
      if (mode === "sticky") expect(jar.cookie).toBe(before.replace(/\.tc1$/, ".tc2"));
      else expect(setCookie).toBeUndefined();
    });

    it("original 135: the other server loads the session of who has logged in exactly once", async () => {
      const { one, two, storage } = await start();
      const { ask } = browser();
      await ask("GET", `${one}/account`, credentials);
      expect(storage.counts().load).toBe(0);

      const { status } = await ask("GET", `${two}/account`, credentials);

      expect(status).toBe(200);
      expect(storage.counts().load).toBe(1);
    });

    it("original 136: what the first request changes at the other server is there at the next one", async () => {
      const { one, two } = await start();
      const { ask } = browser();
      await ask("GET", `${one}/account`, credentials);

      const { status } = await ask("POST", `${two}/notes/foo/bar`, credentials);
      const { text } = await ask("GET", `${two}/account`, credentials);

      expect(status).toBe(200);
      expect(JSON.parse(text)).toEqual({ user: "ann", notes: { foo: "bar" } });
    });
  });
}
