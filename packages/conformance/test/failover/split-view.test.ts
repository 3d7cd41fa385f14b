import { describe, expect, it } from "vitest";
import { testClient, waitUntil } from "../../src/index.js";
import {
  logInOn,
  nextEvent,
  nodeKinds,
  nodeOf,
  startNodes,
  startProcess,
  throughProxies,
} from "./real-nodes.js";

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`two processes that do not agree on whether a ${kind} node is there${reason}`, () => {
    async function splitView(options: { locking?: "all" } = {}) {
      const nodes = await startNodes(kind, 3);
      const proxied = await throughProxies(nodes);
      const cutOff = startProcess(proxied, options);
      const connected = startProcess(nodes, options);
      const session = await logInOn("n1", connected);
      const down = nextEvent(cutOff, "nodeDown");
      nodeOf(proxied, "n1").cutOff();
      await down;
      return { cutOff, connected, ...session };
    }

    it("a session that one of them ends is gone for the other within a moment", async () => {
      const { cutOff, connected, client, cookie } = await splitView();

      await client.visit(cutOff, (_, session) => session.destroy());

      await waitUntil("the old cookie leads to nothing", async () => {
        const replayed = await testClient(cookie).visit(connected);
        return replayed.session?.attributes.user === undefined;
      });
    });

    it("a log-in with one of them ends the old id for the other within a moment", async () => {
      const { cutOff, connected, client, cookie } = await splitView();

      await client.visit(cutOff, (_, session) => session.regenerate({ keep: "all" }));

      await waitUntil("the old cookie leads to nothing", async () => {
        const replayed = await testClient(cookie).visit(connected);
        return replayed.session?.attributes.user === undefined;
      });
    });

    it("what one of them changes is what the other reads within a moment, also with a cookie from before", async () => {
      const { cutOff, connected, cookie } = await splitView();

      const first = testClient(cookie);
      const changed = await first.visit(cutOff, (attributes) => {
        attributes.user = "bob";
      });
      expect(changed.result.outcome).toBe("stored");

      await waitUntil("the change is read", async () => {
        const read = await testClient(cookie).visit(connected);
        return read.session?.attributes.user === "bob";
      });
    });

    it("what is refused to one, as the other was faster, stays nowhere", async () => {
      const { cutOff, connected, client, cookie } = await splitView({ locking: "all" });
      const [slower, faster] = [testClient(cookie), client];
      const toBeRefused = await slower.open(connected);
      await faster.visit(cutOff, (attributes) => {
        attributes.user = "bob";
      });
      toBeRefused.session!.attributes.user = "carl";
      await slower.finish(toBeRefused);

      const { session } = await testClient(cookie).visit(connected);

      expect(session?.attributes.user).toBe("bob");
    });
  });
}
