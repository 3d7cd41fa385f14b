import { createSessionManager, memoryStorage, type SessionManagerOptions, type Storage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";

const oldSecret = "the old secret, of more than 32 bytes...";
const newSecret = "the new secret, of more than 32 bytes...";

/** Two nodes whose records a test can spoil, and processes around them. */
function setUp() {
  const spoilers: ((bytes: Buffer) => void)[] = [() => {}, () => {}];
  const storages = [memoryStorage(), memoryStorage()].map((storage, i): Storage => {
    const load = storage.load.bind(storage);
    storage.load = async (...args) => {
      const loaded = await load(...args);
      if (loaded.kind !== "found") return loaded;
      const record = Buffer.from(loaded.record);
      spoilers[i]?.(record);
      return { ...loaded, record };
    };
    return storage;
  });
  const nodes = storages.map((storage, i) => ({ id: `n${i + 1}`, storage }));
  const start = (secret: SessionManagerOptions["secret"]) => createSessionManager({ secret, nodes });
  const spoil = (node: string, how: (bytes: Buffer) => void) => {
    spoilers[Number(node.slice(1)) - 1] = how;
  };
  return { start, spoil };
}

const signIn = (attributes: { user?: string }) => {
  attributes.user = "ann";
};

describe("a record that cannot be read", () => {
  it("is not used: the other copy is asked, and an event tells of it", async () => {
    const { start, spoil } = setUp();
    const manager = start(newSecret);
    const client = testClient();
    await client.visit(manager, signIn);
    spoil(client.cookie!.split("-")[1]!, (bytes) => {
      bytes[bytes.length - 1]! ^= 1;
    });

    expect((await client.visit(manager)).session?.attributes.user).toBe("ann");
    expect(manager.stats().events.spoilt).toBeGreaterThan(0);
    await manager.close();
  });

  it("of a later release is trouble, not absence, and an older copy of it is not used", async () => {
    const { start, spoil } = setUp();
    const manager = start(newSecret);
    const client = testClient();
    await client.visit(manager, signIn);
    spoil(client.cookie!.split("-")[1]!, (bytes) => bytes.write("M2", "latin1"));

    await expect(client.visit(manager)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    await manager.close();
  });

  it("as its key is not known here yet is trouble, not absence", async () => {
    const { start } = setUp();
    const [before, rotated] = [start(oldSecret), start([newSecret, oldSecret])];
    const client = testClient();
    await client.visit(before, signIn);
    const parallel = testClient(client.cookie);
    await client.visit(rotated, signIn); // written anew, with the new key

    await expect(parallel.visit(before)).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    await Promise.all([before.close(), rotated.close()]);
  });
});

it("a record under an old key is written under the new one with the next use, though nothing changed", async () => {
  const { start } = setUp();
  const [before, rotated, after] = [start(oldSecret), start([newSecret, oldSecret]), start(newSecret)];
  const client = testClient();
  await client.visit(before, signIn);
  await client.visit(rotated);

  expect((await client.visit(after)).session?.attributes.user).toBe("ann");
  await Promise.all([before, rotated, after].map((manager) => manager.close()));
});
