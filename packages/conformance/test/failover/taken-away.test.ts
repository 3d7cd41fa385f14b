import { describe, expect, it } from "vitest";
import { testClient } from "../../src/index.js";
import { begin } from "../locking/stage.js";

/** As long as it takes a process to learn what others have put up for it. */
const noticedWithinMs = 1100;

/** A sticky session that the load balancer sent from one process to another, and the cookie from before. */
async function takenAway() {
  const { running, one, client, id } = await begin({ mode: "sticky" });
  const former = client.cookie;
  const two = running.start("app2");
  await client.visit(two, (attributes) => {
    attributes.count = 1;
  });
  await running.clock.turn(noticedWithinMs);
  return { running, one, two, client, former, id };
}

describe("sticky: a session that another process took over", () => {
  it("is not served to a replayed cookie of its former owner after it was destroyed", async () => {
    const { one, two, client, former } = await takenAway();
    await client.visit(two, (_, session) => session.destroy());

    const { session } = await testClient(former).visit(one);

    expect(session?.attributes.user).toBeUndefined();
  });

  it("is not served under the id that it gave up at log-in", async () => {
    const { one, two, client, former } = await takenAway();
    await client.visit(two, (_, session) => session.regenerate({ keep: "all" }));

    const { session } = await testClient(former).visit(one);

    expect(session?.attributes.user).toBeUndefined();
  });

  it("is served with what was written elsewhere when it comes back with its old cookie", async () => {
    const { one, former } = await takenAway();

    const { session } = await testClient(former).visit(one);

    expect(session?.attributes).toMatchObject({ user: "anna", count: 1 });
  });

  it("costs one look at its node, and then none again", async () => {
    const { running, one, former } = await takenAway();
    await testClient(former).visit(one);
    await running.clock.turn(noticedWithinMs);
    await testClient(former).visit(one);
    running.takeCounts();

    await testClient(former).visit(one);

    expect(running.takeCounts()).toEqual({});
  });

  it("is refused while its nodes do not answer, as it may have ended", async () => {
    const { running, one, former } = await takenAway();
    for (const node of Object.values(running.nodes)) node.goDown();

    const visit = testClient(former).visit(one);

    await expect(visit).rejects.toMatchObject({ code: /^MSM_ERR_STORAGE_/ });
  });

  it("shows its owner what was done to it elsewhere without a request", async () => {
    const { running, one, client, id } = await begin({ mode: "sticky" });
    const two = running.start("app2");
    await two.withSession(id, ({ attributes }) => {
      attributes.count = 7;
    });
    await running.clock.turn(noticedWithinMs);

    const { session } = await client.visit(one);

    expect(session?.attributes.count).toBe(7);
  });

  it("has ended for its owner where it was destroyed elsewhere without a request", async () => {
    const { running, one, client, id } = await begin({ mode: "sticky" });
    const two = running.start("app2");
    await two.withSession(id, (session) => session.destroy());
    await running.clock.turn(noticedWithinMs);

    const { session } = await client.visit(one);

    expect(session?.attributes.user).toBeUndefined();
  });
});
