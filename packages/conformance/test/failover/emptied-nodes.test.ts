import { memoryStorage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";
import { begin, homeOf } from "../locking/stage.js";

/** As long as it takes a process to notice that a node was emptied, and to see to its sessions. */
const noticedWithinMs = 1000;

const hourMs = 3_600_000;

describe("a node that is emptied while it runs (FLUSHALL)", () => {
  it("sticky: gets the backups of each process again, within a moment", async () => {
    const { running, one, client } = await begin({ mode: "sticky" });
    await running.clock.turn(200); // so that they do not look at the same time
    const two = running.start("app2");
    const other = testClient();
    do {
      other.cookie = undefined;
      await other.visit(two, (attributes) => {
        attributes.user = "bert";
      });
    } while (homeOf(other.cookie) !== homeOf(client.cookie));
    await running.clock.turn(noticedWithinMs);
    running.nodes[homeOf(client.cookie)]!.emptyAs(memoryStorage({ clock: running.clock }));
    await running.clock.turn(noticedWithinMs);
    running.kill(one);
    running.kill(two);

    const later = running.start("app3");
    const found = [await client.visit(later), await other.visit(later)];

    expect(found.map(({ session }) => session?.attributes.user)).toEqual(["anna", "bert"]);
  });

  it("non-sticky: gets the copy of a session that is only read again with its next use", async () => {
    const { running, one, client } = await begin({ mode: "non-sticky" });
    const home = homeOf(client.cookie);
    await running.clock.turn(noticedWithinMs);
    running.nodes[home === "n1" ? "n2" : "n1"]!.emptyAs(memoryStorage({ clock: running.clock }));
    await running.clock.turn(noticedWithinMs);
    await client.visit(one);
    await running.clock.turn(0);

    running.nodes[home]!.restartAs(memoryStorage({ clock: running.clock }));
    const { session } = await client.visit(one);

    expect(session?.attributes.user).toBe("anna");
  });

  it("is told of once, and again when it is emptied again", async () => {
    const { running, one } = await begin({ mode: "sticky" });
    await running.clock.turn(noticedWithinMs);

    for (let times = 1; times <= 2; times++) {
      running.nodes.n1!.emptyAs(memoryStorage({ clock: running.clock }));
      await running.clock.turn(5 * noticedWithinMs);
      expect(one.stats().events.nodeReconnected).toBe(times);
    }
  });

  it("is told of once where it restarted as well, be it noticed by its probe alone", async () => {
    const { running, one } = await begin({ mode: "sticky" });
    await running.clock.turn(noticedWithinMs);

    running.nodes.n1!.restartAs(memoryStorage({ clock: running.clock }));
    await running.clock.turn(5 * noticedWithinMs);

    expect(one.stats().events.nodeReconnected).toBe(1);
  });
});

describe("the mark by which that is noticed", () => {
  it("lives on as long as any process looks at it", async () => {
    const { running, one } = await begin({ mode: "sticky" });

    await running.clock.turn(3 * hourMs);

    expect(one.stats().events.nodeReconnected).toBe(0);
  });

  it("harms nobody where it alone is lost", async () => {
    const { running, one, client } = await begin({ mode: "non-sticky" });
    const home = running.nodes[homeOf(client.cookie)]!;
    await running.clock.turn(noticedWithinMs);
    const { load } = home;
    home.load = async (key, options) =>
      key.includes("notices") ? { kind: "absent" } : load.call(home, key, options);

    await running.clock.turn(noticedWithinMs);
    home.load = load;
    await running.clock.turn(5 * noticedWithinMs);
    const { result } = await client.visit(one, (attributes) => {
      attributes.count = 1;
    });

    expect(result.outcome).toBe("stored");
    expect((await client.visit(running.start("app2"))).session?.attributes.count).toBe(1);
  });
});
