import { cluster } from "@msm/conformance";
import { memoryStorage, type SessionManager, type Storage } from "@msm/core";
import { session } from "@msm/express";
import express, { type Express } from "express";
import { afterEach, expect, it } from "vitest";
import { serve } from "./serve.js";

declare module "express-session" {
  interface SessionData {
    user: string;
    /** Where somebody wanted to go who had to log in first. */
    returnTo: string;
    notes: Record<string, string>;
  }
}

// Behaviours of memcached-session-manager that show in HTTP only, by their numbers in docs/original-behaviours.md. Its
// container logs users in by BASIC and FORM; here a handler does, with a new id and an attribute.

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

function application(manager: SessionManager): Express {
  const app = express();
  app.get("/pixel.gif", (_req, res) => void res.type("gif").send("GIF89a"));
  app.use(session({ manager }));
  app.get("/logo.svg", (_req, res) => void res.type("svg").send("<svg/>"));
  app.post("/notes/:name/:text", (req, res) => {
    req.session.notes = { ...req.session.notes, [req.params.name]: req.params.text };
    res.redirect(303, String(req.query.then ?? "/notes"));
  });
  app.post("/later/:name/:text", (req, res) => {
    setImmediate(() => {
      req.session.notes = { ...req.session.notes, [req.params.name]: req.params.text };
      res.json(req.session.notes);
    });
  });
  app.get("/notes", (req, res) => void res.json(req.session.notes ?? {}));
  app.get("/account", async (req, res) => {
    const user = req.session.user ?? userOf(req.headers.authorization);
    if (user === undefined) {
      req.session.returnTo = req.originalUrl;
      return res.redirect("/login");
    }
    if (req.session.user === undefined) {
      await req.session.regenerate();
      req.session.user = user;
    }
    res.json({ user, notes: req.session.notes ?? {} });
  });
  app.get("/login", (_req, res) => void res.send("who are you?"));
  app.post("/login", async (req, res) => {
    const { returnTo = "/" } = req.session;
    await req.session.regenerate();
    req.session.user = "ann";
    res.redirect(303, returnTo);
  });
  return app;
}

/** Two servers of one application, on the same two nodes, without any affinity between a browser and a server. */
async function start(createStorage?: () => Storage) {
  const nodes = cluster({ locking: "auto", ...(createStorage && { createStorage }) });
  closings.push(() => nodes.close());
  const [one, two] = await Promise.all([startServer(nodes.start()), startServer(nodes.start())]);
  return { one, two, takeCounts: () => nodes.takeCounts() };
}

async function startServer(manager: SessionManager): Promise<string> {
  const { url, close } = await serve(application(manager));
  closings.push(close);
  return url;
}

/** A browser with a jar for one cookie; follows no redirect by itself. */
function browser() {
  const jar: { cookie?: string } = {};
  const ask = async (method: string, url: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(url, { method, redirect: "manual", headers: { ...headers, ...jar } });
    const [setCookie] = answer.headers.getSetCookie();
    if (setCookie !== undefined) jar.cookie = setCookie.split(";")[0]!;
    const text = await answer.text();
    return { status: answer.status, setCookie, text, location: answer.headers.get("location") };
  };
  return { ask, jar };
}

const idIn = (cookie: string | undefined) => cookie?.slice("sid=".length).split("-")[0];

function userOf(authorization: string | undefined): string | undefined {
  const encoded = /^Basic (.+)$/.exec(authorization ?? "")?.[1];
  return encoded && Buffer.from(encoded, "base64").toString().split(":")[0];
}

it("original 114: what is served before the session's middleware costs nothing, and hides no change", async () => {
  const { one, two, takeCounts } = await start();
  const { ask } = browser();
  await ask("POST", `${one}/notes/foo/1`);
  takeCounts();

  const pixel = await ask("GET", `${one}/pixel.gif`);

  expect(pixel).toMatchObject({ status: 200, setCookie: undefined });
  expect(takeCounts()).toEqual({});
  await ask("POST", `${one}/notes/bar/2`);
  const { text } = await ask("GET", `${two}/notes`);
  expect(JSON.parse(text)).toEqual({ foo: "1", bar: "2" });
});

it("original 115: who has authenticated at one server is known to the other, without credentials", async () => {
  const { one, two } = await start();
  const { ask, jar } = browser();
  const authorization = `Basic ${Buffer.from("ann:secret").toString("base64")}`;
  expect((await ask("GET", `${one}/account`, { authorization })).status).toBe(200);
  const id = idIn(jar.cookie);
  await ask("POST", `${one}/notes/foo/bar`);

  const { text } = await ask("GET", `${two}/account`);

  expect(JSON.parse(text)).toEqual({ user: "ann", notes: { foo: "bar" } });
  expect(idIn(jar.cookie)).toBe(id);
});

it("original 116: after a log-in, only what changes the session writes it, and no answer sends the cookie again", async () => {
  const { one, two, takeCounts } = await start();
  const { ask } = browser();
  expect((await ask("POST", `${one}/login`)).setCookie).toBeDefined();
  const answers = [await ask("POST", `${one}/notes/foo/1`)];
  takeCounts();

  answers.push(await ask("GET", `${one}/logo.svg`));

  const counts = takeCounts();
  expect(counts.save ?? 0).toBe(0);
  expect(counts.load).toBe(1);
  answers.push(await ask("POST", `${one}/notes/bar/2`), await ask("GET", `${two}/account`));
  expect(JSON.parse(answers.at(-1)!.text)).toEqual({ user: "ann", notes: { foo: "1", bar: "2" } });
  expect(answers.map(({ setCookie }) => setCookie)).toEqual([undefined, undefined, undefined, undefined]);
});

it("original 117: one server reads what the other kept of a request that had to log in first", async () => {
  const { one, two } = await start();
  const { ask, jar } = browser();
  const asked = await ask("GET", `${one}/account?tab=2`);
  expect(asked).toMatchObject({ status: 302, location: "/login" });
  const before = jar.cookie;

  const loggedIn = await ask("POST", `${two}/login`);

  expect(loggedIn).toMatchObject({ status: 303, location: "/account?tab=2" });
  // The original keeps the id through a log-in. An id that was planted before must be worth nothing after it.
  expect(idIn(jar.cookie)).not.toBe(idIn(before));
  const planted = await fetch(`${two}/account`, { redirect: "manual", headers: { cookie: before! } });
  expect(planted.status).toBe(302);
});

it("original 118: a log-in that begins at one server and ends at the other holds at both", async () => {
  const { one, two } = await start();
  const { ask, jar } = browser();
  await ask("GET", `${one}/account`);
  const { location } = await ask("POST", `${two}/login`);
  const id = idIn(jar.cookie);
  expect((await ask("GET", two + location)).status).toBe(200);

  await ask("POST", `${two}/notes/foo/bar`);
  const { status, text } = await ask("GET", `${one}/account`);

  expect(status).toBe(200);
  expect(JSON.parse(text)).toEqual({ user: "ann", notes: { foo: "bar" } });
  expect(idIn(jar.cookie)).toBe(id);
});

it("original c: who is redirected to the other server finds there what was written before the redirect", async () => {
  const { one, two } = await start(() => slowly(memoryStorage()));
  const { ask } = browser();

  for (const number of ["1", "2", "3", "4"]) {
    const { location } = await ask("POST", `${one}/notes/n/${number}?then=${two}/notes`);
    const { text } = await ask("GET", location!);
    expect(JSON.parse(text)).toEqual({ n: number });
  }
});

it("original n: what changes after the handler has returned is saved, as long as it is not answered", async () => {
  const { one, two } = await start();
  const { ask } = browser();
  await ask("POST", `${one}/notes/foo/1`);

  await ask("POST", `${one}/later/bar/2`);

  expect(JSON.parse((await ask("GET", `${two}/notes`)).text)).toEqual({ foo: "1", bar: "2" });
});

/** A storage that takes its time for each save, so that whatever does not wait for it overtakes it. */
function slowly(storage: Storage): Storage {
  return {
    kind: storage.kind,
    load: (...args) => storage.load(...args),
    async save(...args) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return storage.save(...args);
    },
    putIfNewer: (...args) => storage.putIfNewer(...args),
    touch: (...args) => storage.touch(...args),
    renewLease: (...args) => storage.renewLease(...args),
    unlock: (...args) => storage.unlock(...args),
    ping: () => storage.ping(),
    close: () => storage.close(),
  };
}
