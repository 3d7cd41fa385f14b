import { memoryStorage } from "@msm/core";
import { describe, expect, it } from "vitest";
import { cluster, testClient } from "../../src/index.js";

describe("the backup of a sticky session that nobody uses", () => {
  it("is made again where all nodes lost it, though they came back one after the other", async () => {
    const c = cluster({ mode: "sticky", nodeIds: ["n1", "n2", "n3"] });
    const app1 = c.start("app1");
    const app2 = c.start("app2");
    const visitors = Array.from({ length: 9 }, () => testClient());
    for (const visitor of visitors) {
      await visitor.visit(app1, (attributes) => {
        attributes.user = "ann";
      });
    }
    for (const node of Object.values(c.nodes)) node.goDown();
    await c.clock.turn(5000);

    for (const node of Object.values(c.nodes)) {
      node.restartAs(memoryStorage({ clock: c.clock }));
      await c.clock.turn(3000);
    }
    await c.clock.turn(3000);

    for (const visitor of visitors) {
      const elsewhere = await visitor.visit(app2);
      expect(elsewhere.session?.attributes.user).toBe("ann");
    }
    await c.close();
  });

  it("is moved from a node that is gone, though the next one did not take it at once", async () => {
    const c = cluster({ mode: "sticky", nodeIds: ["n1", "n2"] });
    const app1 = c.start("app1");
    const visitors = Array.from({ length: 6 }, () => testClient());
    for (const visitor of visitors) {
      await visitor.visit(app1, (attributes) => {
        attributes.user = "ann";
      });
    }
    c.nodes.n1!.goDown();
    c.nodes.n2!.hangOn("load");
    c.nodes.n2!.failNext(1);
    await c.clock.turn(3000);
    c.nodes.n2!.comeBack();
    await c.clock.turn(5000);

    c.kill(app1);
    const app2 = c.start("app2");
    await c.clock.turn(15_000);
    for (const visitor of visitors) {
      const elsewhere = await visitor.visit(app2);
      expect(elsewhere.session?.attributes.user).toBe("ann");
    }
    await c.close();
  });
});
