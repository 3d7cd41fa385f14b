import session from "@msm/express";
import flash from "connect-flash";
import cookieParser from "cookie-parser";
import { doubleCsrf } from "csrf-csrf";
import { csrfSync } from "csrf-sync";
import csurf from "csurf";
import express, { type Express, type RequestHandler } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { Client } from "./client.js";
import { serve } from "./serve.js";

const secret = "only for the tests with other middlewares, 32 bytes";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

// Passport has its tests in express.test.ts.
describe.each([
  ["Express 5", express],
  ["Express 4", express4 as unknown as typeof express],
])("%s", (_name, framework) => {
  async function client(routes: (app: Express) => void, options: object = {}): Promise<Client> {
    const app = framework();
    const sessions = session({ secret, ...options });
    app.use(cookieParser(), sessions, express.urlencoded({ extended: false }));
    routes(app);
    app.use(
      ((error, _req, res, _next) =>
        void res.status(error.status ?? 500).send("refused")) as express.ErrorRequestHandler,
    );
    const { url, close } = await serve(app);
    closings.push(() => sessions.manager.close(), close);
    return new Client(url);
  }

  it("connect-flash shows a message once, after a redirect", async () => {
    const ann = await client((app) => {
      app.use(flash());
      app.get("/say", (req, res) => {
        req.flash("info", "saved");
        req.flash("info", "%s of %d", "one", 2);
        res.redirect("/");
      });
      app.get("/", (req, res) => void res.json(req.flash("info")));
    });

    expect((await ann.get("/say")).status).toBe(302);
    expect((await ann.get()).text).toBe('["saved","one of 2"]');
    expect((await ann.get()).text).toBe("[]");
  });

  /** Answers a token at `GET /`, and `done` at `POST /` where the token comes along. */
  async function checkTokens(ann: Client, send: (token: string) => RequestInit): Promise<void> {
    const { text: token } = await ann.get("/");
    const post = (init: RequestInit) => ann.get("/", { method: "POST", ...init });

    expect(token.length).toBeGreaterThan(10);
    expect(await post(send(token))).toMatchObject({ status: 200, text: "done" });
    expect(await post(send(token))).toMatchObject({ status: 200, text: "done" });
    expect(await post(send(`${token}x`))).toMatchObject({ status: 403, text: "refused" });
    expect(await post({})).toMatchObject({ status: 403, text: "refused" });
  }

  const inHeader = (token: string): RequestInit => ({ headers: { "x-csrf-token": token } });
  const inBody = (token: string): RequestInit => ({ body: new URLSearchParams({ _csrf: token }) });
  const done: RequestHandler = (_req, res) => void res.send("done");

  it("csurf keeps its secret in the session", async () => {
    const ann = await client((app) => {
      app.use(csurf());
      app.get("/", (req, res) => void res.send(req.csrfToken?.()));
      app.post("/", done);
    });

    await checkTokens(ann, inBody);
  });

  it("csrf-sync keeps its token in the session", async () => {
    const { csrfSynchronisedProtection, generateToken } = csrfSync();
    const ann = await client((app) => {
      app.use(csrfSynchronisedProtection);
      app.get("/", (req, res) => void res.send(generateToken(req)));
      app.post("/", done);
    });

    await checkTokens(ann, inHeader);
  });

  it("csrf-csrf binds its token to the session's id", async () => {
    const { doubleCsrfProtection, generateCsrfToken } = doubleCsrf({
      getSecret: () => secret,
      getSessionIdentifier: (req) => req.session.id,
      cookieName: "csrf",
      cookieOptions: { secure: false },
    });
    const ann = await client(
      (app) => {
        app.use(doubleCsrfProtection);
        app.get("/", (req, res) => void res.send(generateCsrfToken(req, res)));
        app.post("/", done);
      },
      { saveUninitialized: true }, // nothing is put into the session, and its id is to stay
    );

    await checkTokens(ann, inHeader);
  });
});
