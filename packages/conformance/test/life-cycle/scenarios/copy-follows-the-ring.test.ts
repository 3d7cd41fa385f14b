import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

const nodeIds = ["n1", "n2", "n3", "n4"];
const after = (id: string) => nodeIds[(nodeIds.indexOf(id) + 1) % nodeIds.length]!;

it("non-sticky, 4 nodes: the copy goes to the node that follows the primary in the ring, wherever that is", async () => {
  const running = cluster({ nodeIds });
  const manager = running.start();
  const primaries = new Set<string>();
  while (primaries.size < nodeIds.length) {
    running.takeCounts();
    const client = testClient();

    await client.visit(manager, (attributes) => {
      attributes.user = "ann";
    });

    const primary = client.cookie!.split("-")[1]!;
    primaries.add(primary);
    const written = nodeIds.filter((id) => running.nodes[id]!.counts().putIfNewer > 0);
    expect(written, `the copy of a session on ${primary}`).toEqual([after(primary)]);
  }
  await running.close();
});
