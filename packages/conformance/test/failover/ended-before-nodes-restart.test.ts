import { type Attributes, memoryStorage, type Session } from "@msm/core";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  type FaultyStorage,
  testClient,
} from "../../src/index.js";

let running: Cluster;
afterEach(() => running.close());

type Handler = (attributes: Attributes, session: Session) => unknown;

const ends: readonly (readonly [string, Handler])[] = [
  ["destroyed", (_, session) => session.destroy()],
  ["given a new id at a log-in", (_, session) => session.regenerate()],
  ["renewed", (_, session) => session.regenerate({ keep: "all", grace: true })],
];

async function begin(options: Record<string, unknown> = {}) {
  running = cluster({ mode: "sticky", ...options } as ClusterOptions);
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, (attributes) => {
    attributes.user = "anna";
  });
  return { one, client };
}

/** All nodes are killed, and start again with nothing. */
async function restartAllEmpty(downMs: number): Promise<void> {
  const { clock, nodes } = running;
  if (downMs > 0) {
    for (const node of Object.values(nodes)) node.goDown();
    await clock.turn(downMs);
  }
  for (const node of Object.values(nodes)) node.restartAs(memoryStorage({ clock }));
}

/** Longer than a former id leads to the session, and than any node is held down. */
const laterMs = 60_000;

describe.each(ends)("a session that was %s", (_, end) => {
  it.each([0, 1500])(
    "by another process does not come back with its former owner's memory, as all nodes start empty after %i ms",
    async (downMs) => {
      const { one, client } = await begin();
      const old = client.cookie;
      const other = running.start("app2");
      await client.visit(other, end);

      await restartAllEmpty(downMs);
      await running.clock.turn(laterMs);

      for (const manager of [running.start("app3"), other, one]) {
        expect((await testClient(old).visit(manager)).session!.isNew).toBe(true);
      }
    },
  );

  it("does not come back with a save that was under way, and reaches a node that has started empty since", async () => {
    const { one, client } = await begin({ nodeIds: ["n1"] });
    const old = client.cookie;
    const saving = await testClient(old).open(one);
    saving.session!.attributes.late = true;
    const { letGo, arrived } = holdNextSave(running.nodes.n1!);
    const saved = saving.commit();
    await arrived;
    await client.visit(one, end);

    await restartAllEmpty(0);
    letGo();
    await saved;
    await saving.end();
    await running.clock.turn(laterMs);

    for (const manager of [running.start("app2"), one])
      expect((await testClient(old).visit(manager)).session!.isNew).toBe(true);
  });
});

it("a session that work in another process destroyed does not come back with its owner's memory", async () => {
  const { one, client } = await begin();
  const old = client.cookie;
  const other = running.start("app2");
  await other.withSession(old!.slice(0, 48), (session) => session.destroy());

  await restartAllEmpty(0);
  await running.clock.turn(laterMs);

  for (const manager of [running.start("app3"), one])
    expect((await testClient(old).visit(manager)).session!.isNew).toBe(true);
});

/** The next save waits on its way to the node. */
function holdNextSave(node: FaultyStorage) {
  const { save } = node;
  let letGo = () => {};
  let arrive = () => {};
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  node.save = async (...args) => {
    node.save = save;
    arrive();
    await gone;
    return save.apply(node, args);
  };
  return { letGo, arrived };
}
