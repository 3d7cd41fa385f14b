import { describe, expect, it } from "vitest";
import { createEvents } from "../events.js";
import { createSealer } from "../session/record.js";
import { memoryStorage } from "../storage/memory.js";
import { type NewNotices, NoticeBoard } from "./notice-board.js";
import { RingNode } from "./ring-node.js";
import { turnableClock } from "./turnable-clock.js";

const secret = { id: "00000001", key: Buffer.alloc(32, 7) };

/** Two nodes, and processes that each reach those that they are told. */
function twoNodes() {
  const { clock, turn } = turnableClock();
  const storages = [memoryStorage({ clock }), memoryStorage({ clock })] as const;

  function addProcess(name = "board", key = secret) {
    const unreachable = new Set<number>();
    const parts = {
      clock,
      events: createEvents(),
      recordLife: { longestMs: 60_000 },
      limits: { operationTimeoutMs: 250 },
    };
    const nodes = storages.map((storage, i) => {
      const cuttable = new Proxy(storage, {
        get(target, verb, receiver) {
          if (unreachable.has(i) && verb !== "close") return () => Promise.reject(new Error("cut off"));
          const value = Reflect.get(target, verb, receiver);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      return new RingNode({ id: `n${i + 1}`, failoverOnly: false, storage: cuttable }, parts, () => []);
    });
    const ring = { nodes, longestRecordLifeMs: 60_000, fingerprint: "00000000" };
    const sealer = createSealer([key]);
    const read: NewNotices[] = [];
    const board = new NoticeBoard(
      name,
      { ring, clock, sealer, options: { keyPrefix: "msm" } },
      (notices) => void read.push(notices),
    );
    return { board, read, unreachable };
  }
  return { addProcess, turn, storages };
}

describe("a notice board", () => {
  it("gives each process what another put up, once for each node that has it", async () => {
    const { addProcess, turn } = twoNodes();
    const [writer, reader] = [addProcess(), addProcess()];
    await reader.board.start();

    writer.board.post("a");
    await turn(1000);
    writer.board.post("b");
    await turn(2000);

    expect(reader.read).toEqual([["a"], ["a"], ["b"], ["b"]]);
  });

  it("gives a process that starts later what is there", async () => {
    const { addProcess, turn } = twoNodes();
    const writer = addProcess();
    writer.board.post("a");
    await turn(0);
    writer.board.stop();

    const reader = addProcess();
    await reader.board.start();
    expect(reader.read).toEqual([["a"], ["a"]]);
  });

  it("carries notices by the node that both processes reach", async () => {
    const { addProcess, turn } = twoNodes();
    const [writer, reader] = [addProcess(), addProcess()];
    writer.unreachable.add(0);
    await reader.board.start();

    writer.board.post("a");
    await turn(1000);

    expect(reader.read).toEqual([["a"]]);
  });

  it("keeps a notice until a node takes it", async () => {
    const { addProcess, turn } = twoNodes();
    const [writer, reader] = [addProcess(), addProcess()];
    writer.unreachable.add(0).add(1);
    await Promise.all([writer.board.start(), reader.board.start()]);
    writer.board.post("a");
    await turn(3000);
    expect(reader.read).toEqual([]);

    writer.unreachable.clear();
    await turn(3000);
    expect(reader.read.flat()).toContain("a");
  });

  it("loses nothing where many processes put up notices at the same time", async () => {
    const { addProcess, turn } = twoNodes();
    const reader = addProcess();
    await reader.board.start();

    for (let i = 0; i < 8; i++) addProcess().board.post(`notice ${i}`);
    await turn(2000);

    const expected = Array.from({ length: 8 }, (_, i) => `notice ${i}`);
    expect([...new Set(reader.read.flat())].sort()).toEqual(expected);
  });

  it("says so where some notices were never read", async () => {
    const { addProcess, turn } = twoNodes();
    const [writer, reader] = [addProcess(), addProcess()];
    writer.board.post("the first");
    await turn(0);
    await reader.board.start();

    for (let i = 0; i < 300; i++) writer.board.post(`notice ${i}`);
    await turn(1000);

    expect(reader.read.slice(2)).toContain("missed");
  });

  it("ignores what another secret sealed, and what is on another board", async () => {
    const { addProcess, turn } = twoNodes();
    const reader = addProcess();
    await reader.board.start();

    addProcess("another board").board.post("a");
    addProcess("board", { id: "00000002", key: Buffer.alloc(32, 8) }).board.post("b");
    await turn(1000);

    expect(reader.read.flat()).toEqual([]);
  });

  it("neither reads nor writes once it was stopped", async () => {
    const { addProcess, turn } = twoNodes();
    const [writer, reader] = [addProcess(), addProcess()];
    await reader.board.start();
    reader.board.stop();
    writer.board.stop();

    writer.board.post("a");
    await turn(2000);

    expect(reader.read).toEqual([]);
  });
});
