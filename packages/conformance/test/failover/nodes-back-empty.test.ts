import { memoryStorage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type Cluster, cluster, testClient } from "../../src/index.js";

const nodeIds = ["n1", "n2", "n3"];

/** Sticky sessions in one process, so many that every node has the backup of some. */
async function begin() {
  const running = cluster({ mode: "sticky", nodeIds });
  const owner = running.start("app1");
  const clients = Array.from({ length: 12 }, () => testClient());
  for (const [at, client] of clients.entries()) {
    await client.visit(owner, (attributes) => {
      attributes.number = at;
    });
  }
  return { running, owner, clients };
}

/** As a node that was killed and started again: it answers, and has nothing. */
const restart = ({ nodes, clock }: Cluster, id: string) => nodes[id]!.restartAs(memoryStorage({ clock }));

describe("sticky: all nodes were killed, and are back empty", () => {
  it.each([
    { title: "at once", betweenMs: 0 },
    { title: "one after the other", betweenMs: 5000 },
  ])("every session has a backup again where they come back $title", async ({ betweenMs }) => {
    const { running, owner, clients } = await begin();
    for (const id of nodeIds) running.nodes[id]!.goDown();
    await running.clock.turn(3000);
    for (const id of nodeIds) {
      restart(running, id);
      await running.clock.turn(betweenMs);
    }
    await running.clock.turn(40_000);

    running.kill(owner);
    const other = running.start("app2");
    await running.clock.turn(2000);
    const found = await Promise.all(
      clients.map(async (client) => (await client.visit(other)).session?.attributes.number),
    );
    await running.close();

    expect(found).toEqual(clients.map((_, at) => at));
  });
});
