import { memoryStorage } from "@msm/core";
import { expect, it } from "vitest";
import { cluster, testClient } from "../../../src/index.js";

for (const loss of ["goes down", "restarts empty"] as const)
  it(`a read after the copy's node ${loss} makes another copy, and the session outlives its first node`, async () => {
    const running = cluster({ nodeIds: ["n1", "n2", "n3"] });
    const manager = running.start();
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.value = "v1";
    });
    const ids = Object.keys(running.nodes);
    const primary = ids.indexOf(client.cookie!.split("-")[1]!);
    const ring = [0, 1, 2].map((step) => running.nodes[ids[(primary + step) % 3]!]!);

    if (loss === "goes down") ring[1]!.goDown();
    else {
      ring[1]!.goDown();
      await running.clock.turn(2000);
      ring[1]!.restartAs(memoryStorage({ clock: running.clock }));
    }
    await running.clock.turn(5000); // the node counts as down, or as up again
    for (let i = 0; i < 5; i++) {
      await client.visit(manager);
      await running.clock.turn(1000);
    }
    ring[0]!.goDown();
    await running.clock.turn(2000);
    const visit = await client.visit(manager).catch((error: unknown) => error);
    await running.close();

    expect(visit).toMatchObject({ session: { attributes: { value: "v1" } } });
  });
