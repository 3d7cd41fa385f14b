import { describe, expect, it, onTestFinished } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../src/index.js";
import { modes } from "./real-nodes.js";

// A node that was away and is back has not yet got what it missed while it is held down. Processes that were there know
// so, and compare its records; one that starts in that very moment is told.

describe.each(modes)("%s: a process that starts when a node has just come back", (mode) => {
  /** A session whose node goes, and is back with its old record when this is done with it. */
  async function whileNodeIsAway(visit: Parameters<ReturnType<typeof testClient>["visit"]>[1]) {
    const running = cluster({ mode } as ClusterOptions);
    onTestFinished(() => running.close());
    const one = running.start("app1");
    const client = testClient();
    await client.visit(one, (attributes) => {
      attributes.user = "ann";
    });
    const old = client.cookie;
    const away = running.nodes[old!.split("-")[1]!]!;
    away.goDown();
    await client.visit(one, visit);
    await running.clock.turn(0);
    away.comeBack();
    return { running, client, old };
  }

  it("does not bring back who logged out meanwhile", async () => {
    const { running, old } = await whileNodeIsAway((_, session) => session.destroy());

    const { session } = await testClient(old).visit(running.start("app2"));

    expect(session?.isNew).toBe(true);
  });

  it("does not go back to what an older cookie leads to", async () => {
    const { running, old } = await whileNodeIsAway((attributes) => {
      attributes.cart = ["book"];
    });

    const { session } = await testClient(old).visit(running.start("app2"));

    expect({ ...session?.attributes }).toEqual({ user: "ann", cart: ["book"] });
  });
});
