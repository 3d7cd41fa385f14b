import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { claimPorts, type PortBlock } from "./port-block.js";

const blocks: PortBlock[] = [];

afterEach(async () => {
  await Promise.all(blocks.splice(0).map((block) => block.release()));
});

async function claim(): Promise<PortBlock> {
  const block = await claimPorts();
  blocks.push(block);
  return block;
}

const ports = async (block: PortBlock, count: number): Promise<number[]> => {
  const given: number[] = [];
  while (given.length < count) given.push(await block.next());
  return given;
};

describe("claimPorts()", () => {
  it("gives what no other holder is given, though nobody listens on it", async () => {
    const held = await Promise.all(Array.from({ length: 40 }, claim));

    const given = (await Promise.all(held.map((block) => ports(block, 5)))).flat();

    expect(new Set(given).size).toBe(200);
  });

  it("has enough for 16 processes and 16 nodes", async () => {
    const given = await ports(await claim(), 32);

    expect(new Set(given).size).toBe(32);
    for (const port of given) expect(port).toBeGreaterThan(20_000);
    for (const port of given) expect(port).toBeLessThan(32_000);
  });

  it("leaves out a port that somebody listens on", async () => {
    const block = await claim();
    const taken = (await block.next()) + 1;
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(taken, "127.0.0.1", resolve));

    expect(await block.next()).toBe(taken + 1);

    await new Promise((resolve) => server.close(resolve));
  });

  it("says so where the block is used up", async () => {
    const block = await claim();
    const all = ports(block, 40);

    await expect(all).rejects.toThrow(/no free port is left between \d+ and \d+/);
  });

  it("can be released twice", async () => {
    const block = await claim();

    await block.release();
    await block.release();
  });
});
