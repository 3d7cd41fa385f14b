import {
  memcachedCommand,
  needsProgram,
  pause,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestServer,
} from "@msm/conformance";
import type { SessionManagerOptions } from "@msm/core";
import { session } from "@msm/express";
import express from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { serve } from "./serve.js";

declare module "express-session" {
  interface SessionData {
    count: number;
  }
}

interface Kind {
  readonly program: string;
  readonly command: ServerCommand;
  readonly url: (port: number) => string;
}

const kinds: readonly Kind[] = [
  { program: "memcached", command: memcachedCommand(), url: (port) => `127.0.0.1:${port}` },
  { program: "redis-server", command: redisCommand(), url: (port) => `redis://127.0.0.1:${port}` },
];

const many = 32;

for (const { program, command, url } of kinds) {
  const { skip, reason } = needsProgram(program);

  describe.skipIf(skip)(`32 parallel requests that increment a counter, on ${program}${reason}`, () => {
    let nodes: TestServer[] = [];
    const closings: (() => unknown)[] = [];

    beforeAll(async () => {
      nodes = await Promise.all([startServer(command), startServer(command)]);
    });
    afterEach(async () => {
      for (const close of closings.splice(0).reverse()) await close();
    });
    afterAll(async () => {
      await Promise.all(nodes.map((node) => node.close()));
    });

    /** Starts a server that gives up on nothing only because the machine is slow. */
    const start = async (options: Partial<SessionManagerOptions>): Promise<string> => {
      const sessions = session({
        secret: "only for the tests of this package, 32 bytes and more",
        nodes: nodes.map(({ port }) => url(port)).join(","),
        operationTimeoutMs: 20_000,
        lockTimeoutMs: 25_000,
        leaseTtlMs: 10_000,
        ...options,
      } as SessionManagerOptions);
      const app = express();
      app.use(sessions);
      app.post("/start", (req, res) => {
        req.session.count = 0;
        res.send("0");
      });
      app.post("/increment", async (req, res) => {
        await pause(5);
        req.session.count = (req.session.count ?? 0) + 1;
        res.send(String(req.session.count));
      });
      app.get("/count", (req, res) => void res.send(String(req.session.count)));
      const { url: address, close } = await serve(app);
      closings.push(() => sessions.manager.close(), close);
      return address;
    };

    const incrementAtOnce = async (servers: readonly string[]) => {
      const first = await fetch(`${servers[0]}/start`, { method: "POST" });
      const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!;
      const answers = await Promise.all(
        Array.from({ length: many }, (_, index) =>
          fetch(`${servers[index % servers.length]}/increment`, { method: "POST", headers: { cookie } }),
        ),
      );
      const statuses = answers.map(({ status }) => status);
      const stored = await fetch(`${servers.at(-1)}/count`, { headers: { cookie } });
      return {
        acknowledged: statuses.filter((status) => status === 200).length,
        stored: Number(await stored.text()),
        others: [...new Set(statuses.filter((status) => status !== 200))],
      };
    };

    it.each(["optimistic", "all"] as const)(
      'counts 32 through one server, sticky under "%s"',
      async (locking) => {
        const server = await start({ mode: "sticky", route: "app1", backupTimeoutMs: 25_000, locking });

        expect(await incrementAtOnce([server])).toEqual({ acknowledged: many, stored: many, others: [] });
      },
    );

    it('counts 32 through two servers, non-sticky under "all"', async () => {
      const servers = [await start({ locking: "all" }), await start({ locking: "all" })];

      expect(await incrementAtOnce(servers)).toEqual({ acknowledged: many, stored: many, others: [] });
    });

    it('counts what it acknowledges, and answers 409 to the rest, sticky under "all" where the balancer is not', async () => {
      const servers = await Promise.all(
        ["app1", "app2"].map((route) =>
          start({ mode: "sticky", route, locking: "all", backupTimeoutMs: 25_000 }),
        ),
      );

      const { acknowledged, stored, others } = await incrementAtOnce(servers);

      expect(stored).toBe(acknowledged);
      expect(new Set([409, ...others])).toEqual(new Set([409]));
    });
  });
}
