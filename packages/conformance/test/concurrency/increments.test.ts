import { memcachedStorage, redisStorage, type Storage } from "@msm/core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  memcachedCommand,
  needsProgram,
  pause,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestServer,
} from "../../src/index.js";
import {
  type Before,
  incrementAll,
  manyIncrements,
  type Processes,
  type ProcessesOptions,
  startProcesses,
} from "./increments.js";

interface Kind {
  readonly program: string;
  readonly command: ServerCommand;
  readonly create: (port: number) => Storage;
}

const operationTimeoutMs = 20_000;

const kinds: readonly Kind[] = [
  {
    program: "memcached",
    command: memcachedCommand(),
    create: (port) => memcachedStorage({ host: "127.0.0.1", port, operationTimeoutMs }),
  },
  {
    program: "redis-server",
    command: redisCommand(),
    create: (port) => redisStorage({ url: `redis://127.0.0.1:${port}`, operationTimeoutMs }),
  },
];

const works: readonly { readonly work: string; readonly before: Before }[] = [
  { work: "at once", before: () => {} },
  { work: "after 5 ms of work each", before: () => pause(5) },
];

const lockings: readonly (readonly [string, ProcessesOptions["locking"], Before])[] = [
  ["all", "all", () => {}],
  ["auto", "auto", () => {}],
  ["a pattern", /^\//, () => {}],
  ["a predicate", ({ method }) => method === "GET", () => {}],
  ["app", "app", (session) => session.lock()],
];

for (const { program, command, create } of kinds) {
  const { skip, reason } = needsProgram(program);

  describe.skipIf(skip)(`32 parallel increments of a counter on ${program}${reason}`, () => {
    let servers: TestServer[] = [];
    let processes: Processes | undefined;

    beforeAll(async () => {
      servers = await Promise.all([startServer(command), startServer(command)]);
    });
    afterEach(async () => {
      await processes?.close();
      processes = undefined;
    });
    afterAll(async () => {
      await Promise.all(servers.map((server) => server.close()));
    });

    const start = (options: Omit<ProcessesOptions, "connect">): Processes => {
      processes = startProcesses({ ...options, connect: () => servers.map(({ port }) => create(port)) });
      return processes;
    };

    /**
     * 32 at once, and what they took in comparison with 32 in a row: told, and not judged, as others use the machine as
     * well. The row goes first: it makes the connections.
     */
    const measure = async (running: Processes, before: Before, title: string) => {
      const row = await incrementAll(running, "in a row", before);
      running.forgetCalls();
      const tally = await incrementAll(running, "at once", before);
      const ratio = (tally.elapsedMs / row.elapsedMs).toFixed(2);
      console.log(
        `${program}, ${title}: ${tally.acknowledged} acknowledged, ${tally.stored} stored, ${tally.refused.length} refused, ${ratio} of ${manyIncrements} in a row`,
      );
      return { row, tally };
    };

    it.each(lockings)(
      "original b: are 32 through three processes, locking by %s",
      async (name, locking, before) => {
        const running = start({ mode: "non-sticky", count: 3, locking });
        const { tally } = await measure(running, before, `${name}, non-sticky, three processes`);

        expect(tally).toMatchObject({ acknowledged: manyIncrements, stored: manyIncrements, refused: [] });
      },
    );

    describe.each(works)("$work", ({ work, before }) => {
      it("are 32, sticky through one process, without any lock", async () => {
        const { tally } = await measure(
          start({ mode: "sticky", count: 1, locking: "optimistic" }),
          before,
          `optimistic, sticky, one process, ${work}`,
        );

        expect(tally).toMatchObject({ acknowledged: manyIncrements, stored: manyIncrements, refused: [] });
      });

      it('are 32 under "all", sticky through one process, and nothing is read for it', async () => {
        const running = start({ mode: "sticky", count: 1, locking: "all" });
        const { tally } = await measure(running, before, `all, sticky, one process, ${work}`);

        expect(tally).toMatchObject({ acknowledged: manyIncrements, stored: manyIncrements, refused: [] });
        expect(running.calls("load"), "a line in memory asks nobody").toBe(0);
        expect(running.calls("unlock")).toBe(0);
        expect(running.calls("save")).toBeLessThanOrEqual(manyIncrements + 1);
      });

      it('are 32 under "all", non-sticky through one process, at one save each and no load in vain', async () => {
        const running = start({ mode: "non-sticky", count: 1, locking: "all" });
        const { tally } = await measure(running, before, `all, non-sticky, one process, ${work}`);

        expect(tally).toMatchObject({ acknowledged: manyIncrements, stored: manyIncrements, refused: [] });
        expect(running.refusedLoads(), "nobody asks in vain").toBe(0);
        expect(running.calls("save"), "one more made the session").toBe(manyIncrements + 1);
        expect(running.calls("unlock"), "the lease is handed on, and goes with the last save").toBe(0);
      });

      it('are 32 under "all", non-sticky through two processes, at one save each and few loads in vain', async () => {
        const running = start({ mode: "non-sticky", count: 2, locking: "all" });
        const { tally } = await measure(running, before, `all, non-sticky, two processes, ${work}`);

        expect(tally).toMatchObject({ acknowledged: manyIncrements, stored: manyIncrements, refused: [] });
        expect(running.calls("save")).toBe(manyIncrements + 1);
        // One request of each process asks. With each change of process it may begin anew with short pauses.
        expect(running.refusedLoads()).toBeLessThanOrEqual(manyIncrements + tally.elapsedMs / 10);
      });

      it('under "all", sticky through two processes: what is acknowledged is stored, the rest is refused', async () => {
        const running = start({ mode: "sticky", count: 2, locking: "all" });
        const { row, tally } = await measure(running, before, `all, sticky, two processes, ${work}`);

        expect(row, "one after the other they take it over from each other").toMatchObject({
          acknowledged: manyIncrements,
          stored: manyIncrements,
        });
        expect(tally.stored).toBe(tally.acknowledged);
        expect(tally.acknowledged + tally.refused.length).toBe(manyIncrements);
        expect(new Set(["MSM_ERR_CONFLICT", ...tally.refused])).toEqual(new Set(["MSM_ERR_CONFLICT"]));
      });

      it.each(["fail", "a function"] as const)(
        "non-sticky through two processes without a lock, onConflict %s: what is acknowledged is stored",
        async (onConflict) => {
          const sum = ({ base, mine, theirs }: Record<"base" | "mine" | "theirs", unknown>) =>
            Number(mine) + Number(theirs) - Number(base);
          const running = start({
            mode: "non-sticky",
            count: 2,
            locking: "optimistic",
            onConflict: onConflict === "fail" ? "fail" : sum,
          });
          const { tally } = await measure(
            running,
            before,
            `optimistic (${onConflict}), non-sticky, two processes, ${work}`,
          );

          expect(tally.stored).toBe(tally.acknowledged);
          expect(new Set(["MSM_ERR_CONFLICT", ...tally.refused])).toEqual(new Set(["MSM_ERR_CONFLICT"]));
        },
      );
    });
  });
}
