import type { SessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type Cluster, testClient } from "../../src/index.js";
import { begin, homeOf } from "../locking/stage.js";

/** Longer than any hold-down, shorter than any session. */
const settledMs = 35_000;

/** A sticky session of app1 that went from one node to the other, and was changed there since by app1 alone. */
async function movedOnce() {
  const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1", "n2"] });
  const former = running.nodes[homeOf(client.cookie)]!;
  former.hang();
  await client.visit(one, (attributes) => {
    attributes.count = 1;
  });
  former.comeBack();
  await running.clock.turn(settledMs); // the former node gets what it missed
  running.kill(one);
  const again = running.start("app1"); // knows nothing of the former node
  await client.visit(again, (attributes) => {
    attributes.count = 2;
  });
  const home = running.nodes[homeOf(client.cookie)]!;
  expect(home).not.toBe(former);
  return { running, again, client, home };
}

/** Another process, which has found all nodes well. */
async function startLater(running: Cluster): Promise<SessionManager> {
  const process = running.start("app2");
  await running.clock.turn(0);
  return process;
}

describe("sticky: an older backup of a session on another node", () => {
  it("is not believed by a process that is not the owner while the node of the newest does not answer", async () => {
    const { running, client, home } = await movedOnce();
    const other = await startLater(running);
    home.goDown();

    const visit = testClient(client.cookie).visit(other);

    await expect(visit).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
  });

  it("does not keep another process from the newest once the owner has moved it", async () => {
    const { running, again, client, home } = await movedOnce();
    const other = await startLater(running);
    home.goDown();
    await running.clock.turn(2000);
    await client.visit(again); // its cookie leads to the node that has the backup now

    const { session } = await client.visit(other);

    expect(session?.attributes.count).toBe(2);
  });

  it("is not believed either where its node took the last write to it without saying so", async () => {
    const { running, one, client } = await begin({ mode: "sticky", nodeIds: ["n1", "n2"] });
    const former = running.nodes[homeOf(client.cookie)]!;
    former.loseReplies();
    await client.visit(one, (attributes) => {
      attributes.count = 1;
    });
    former.comeBack();
    await running.clock.turn(settledMs);
    running.kill(one);
    const again = running.start("app1");
    await client.visit(again, (attributes) => {
      attributes.count = 2;
    });
    const other = await startLater(running);
    running.nodes[homeOf(client.cookie)]!.goDown();

    const visit = testClient(client.cookie).visit(other);

    await expect(visit).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
  });
});
