import type { SessionManager } from "@msm/core";
import { describe, expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

describe.each(["non-sticky", "sticky"] as const)("%s: a destroy() that no node took", (mode) => {
  /** A client that is logged in, and a request of it that ends its session while the only node fails some calls. */
  async function loggingOut(failures: number) {
    const running = cluster({ mode, nodeIds: ["n1"] } as ClusterOptions);
    const app = running.start("app1");
    const client = testClient();
    await client.visit(app, (attributes) => {
      attributes.user = "ann";
    });
    const { cookie } = client;
    const exchange = await client.open(app);
    running.nodes.n1!.failNext(failures, "MSM_ERR_STORAGE_UNAVAILABLE");
    const userElsewhere = async () => {
      const other: SessionManager = running.start("app2");
      return (await testClient(cookie).visit(other)).session!.attributes.user;
    };
    return { running, exchange, userElsewhere };
  }

  it("is not answered as if it had ended, though nobody looked at the error", async () => {
    const { running, exchange } = await loggingOut(100);

    void exchange.session!.destroy().catch(() => {});
    const unawaited = await exchange.commit();
    const afterwards = await exchange.commit();
    const cookie = exchange.cookie();
    await exchange.end();
    await running.close();

    expect([unawaited.outcome, afterwards.outcome, cookie]).toEqual(["failed", "failed", undefined]);
    expect(unawaited.error).toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE", status: 503 });
  });

  it("is tried again as its request is answered", async () => {
    const { running, exchange, userElsewhere } = await loggingOut(100);

    await expect(exchange.session!.destroy()).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
    running.nodes.n1!.failNext(0);
    await running.clock.turn(5000);
    const { outcome } = await exchange.commit();
    const cookie = exchange.cookie();
    await exchange.end();
    const user = await userElsewhere();
    await running.close();

    expect({ outcome, user }).toEqual({ outcome: "unneeded", user: undefined });
    expect(cookie).toMatch(/^sid=;/);
  });

  it("is waited for where its request does not", async () => {
    const { running, exchange } = await loggingOut(0);
    const order: string[] = [];

    void exchange.session!.destroy().then(() => order.push("ended"));
    await exchange.commit();
    order.push("answered");
    await exchange.end();
    await running.close();

    expect(order).toEqual(["ended", "answered"]);
  });
});
