import { type createServer, IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import session, { type SessionMiddleware } from "@msm/express";
import express, { type Express, type Request, type RequestHandler } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { Client } from "./client.js";
import { serve } from "./serve.js";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

function sessionsOf(options: object = {}): SessionMiddleware {
  const sessions = session({
    secret: "only for the tests of what stands on requests",
    ...options,
  } as session.SessionOptions);
  closings.push(() => sessions.manager.close());
  return sessions;
}

async function clientOf(listener: Parameters<typeof createServer>[1]): Promise<Client> {
  const { url, close } = await serve(listener as Express);
  closings.push(close);
  return new Client(url);
}

/** What a handler finds of the three properties. */
function facts(req: Request) {
  const names = ["session", "sessionID", "sessionStore"] as const;
  const inLoop: string[] = [];
  for (const name in req) inLoop.push(name);
  return {
    isComplete: req.sessionID === req.session?.id && req.sessionStore !== undefined,
    hasOwnSession: Object.hasOwn(req, "session"),
    has: names.filter((name) => name in req),
    inLoop: names.filter((name) => inLoop.includes(name)),
  };
}

const complete = {
  isComplete: true,
  hasOwnSession: true,
  has: ["session", "sessionID", "sessionStore"],
  inLoop: ["session", "sessionID", "sessionStore"],
};

const tell: RequestHandler = (req, res) => void res.json(facts(req));

describe.each([
  ["Express 5", express],
  ["Express 4", express4 as unknown as typeof express],
])("a request of %s", (_name, framework) => {
  it("has a session, its id and a store", async () => {
    const app = framework();
    app.use(sessionsOf());
    app.get("/", tell);
    const ann = await clientOf(app);

    expect(JSON.parse((await ann.get("/")).text)).toEqual(complete);
  });

  it("keeps them when it comes back from a mounted application that gave it them", async () => {
    const app = framework();
    const mounted = framework();
    mounted.use(sessionsOf());
    app.use("/", mounted);
    app.get("/", tell);
    const ann = await clientOf(app);

    expect(JSON.parse((await ann.get("/")).text)).toEqual(complete);
  });

  it("has them in a mounted application, where the one around that gave it them", async () => {
    const app = framework();
    const mounted = framework();
    app.use(sessionsOf());
    mounted.get("/in", tell);
    app.use("/", mounted);
    const ann = await clientOf(app);

    expect(JSON.parse((await ann.get("/in")).text)).toEqual(complete);
  });

  it("without a session has none of them, and takes what another middleware puts there", async () => {
    const app = framework();
    app.use("/with", sessionsOf(), tell);
    app.get("/without", (req, res) => {
      const before = [req.session, req.sessionID, req.sessionStore];
      Object.assign(req, { sessionID: "another's", sessionStore: "another's" });
      res.json([before, req.sessionID, req.sessionStore]);
    });
    const ann = await clientOf(app);
    await ann.get("/with");

    expect(JSON.parse((await ann.get("/without")).text)).toEqual([
      [null, null, null],
      "another's",
      "another's",
    ]);
  });

  it("keeps another's properties of these names on the application's prototype", async () => {
    const app = framework();
    Object.defineProperty(app.request, "sessionID", { value: "another's", configurable: true });
    app.use(sessionsOf());
    app.get("/", tell);
    const ann = await clientOf(app);

    expect(JSON.parse((await ann.get("/")).text)).toEqual(complete);
  });
});

it("a request of Node's own has a session, its id and a store, and its class stays as it is", async () => {
  const sessions = sessionsOf();
  const ann = await clientOf((req, res) =>
    sessions(req, res, () => res.end(JSON.stringify(facts(req as Request)))),
  );

  expect(JSON.parse((await ann.get("/")).text)).toEqual(complete);
  expect("sessionID" in IncomingMessage.prototype).toBe(false);
});

it("what inherits from a request has its session", async () => {
  const app = express();
  app.use(sessionsOf());
  app.get("/", (req, res) => {
    const heir = Object.create(req) as Request;
    heir.session = { hits: 3 } as unknown as typeof req.session;
    res.json([heir.sessionID === req.sessionID, req.session.hits, Object.hasOwn(heir, "session")]);
  });
  const ann = await clientOf(app);

  expect(JSON.parse((await ann.get("/")).text)).toEqual([true, 3, false]);
});

it("a session that needs no waiting is there at once", () => {
  const sessions = sessionsOf();
  const req = new IncomingMessage(new Socket());
  let isPassedOn = false;

  const res = new ServerResponse(req);
  sessions(req, res, () => {
    isPassedOn = true;
  });
  res.end();

  expect(isPassedOn).toBe(true);
});
