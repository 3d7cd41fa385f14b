import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { serverOptions, session } from "@msm/express";
import express, { type ErrorRequestHandler, type Express } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { Client } from "./client.js";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

describe.each([
  ["Express 5", express],
  ["Express 4", express4 as unknown as typeof express],
])("a server with serverOptions() for %s", (_name, framework) => {
  async function clientOf(routes: (app: Express) => void): Promise<Client> {
    const app = framework();
    const sessions = session({ secret: "only for the tests of faster servers, 32 bytes" });
    app.use(sessions);
    routes(app);
    app.use(((error, _req, res, _next) => void res.status(500).send(error.message)) as ErrorRequestHandler);
    const server = http.createServer(serverOptions(app), app).listen(0, "127.0.0.1");
    await once(server, "listening");
    closings.push(
      () => sessions.manager.close(),
      () => {
        server.closeAllConnections();
        server.close();
      },
    );
    return new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  it("swaps no prototype of the application's own", async () => {
    const ann = await clientOf((app) => {
      const swapped: object[] = [];
      app.get("/", (req, res) => {
        if (Object.getPrototypeOf(req) !== app.request) swapped.push(req);
        if (Object.getPrototypeOf(res) !== app.response) swapped.push(res);
        const isNodes = req instanceof http.IncomingMessage && res instanceof http.ServerResponse;
        res.json([swapped.length, isNodes, req.get("host")?.split(":")[0], req.ip]);
      });
    });

    expect(JSON.parse((await ann.get("/")).text)).toEqual([0, true, "127.0.0.1", "127.0.0.1"]);
  });

  it("gives requests their sessions, in mounted applications and behind them too", async () => {
    const ann = await clientOf((app) => {
      const mounted = framework();
      mounted.get("/in", (req, res) => void res.json([++req.session.hits!, req.app === mounted]));
      app.get("/begin", (req, res) => {
        req.session.hits = 1;
        res.send("ok");
      });
      app.use(mounted);
      app.get(
        "/behind",
        (req, res) => void res.json([++req.session.hits!, req.sessionID === req.session.id]),
      );
    });
    await ann.get("/begin");

    expect(JSON.parse((await ann.get("/in")).text)).toEqual([2, true]);
    expect(JSON.parse((await ann.get("/behind")).text)).toEqual([3, true]);
  });

  it("leaves errors to their handlers, and what is not found to Express", async () => {
    const ann = await clientOf((app) => {
      app.get("/error", () => {
        throw new Error("not today");
      });
    });

    expect(await ann.get("/error")).toMatchObject({ status: 500, text: "not today" });
    expect((await ann.get("/nowhere")).status).toBe(404);
  });
});
