import type { SessionExchange } from "@msm/core";
import { expect, it, onTestFinished } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const increment = (attributes: { n?: number }) => {
  attributes.n = (attributes.n ?? 0) + 1;
};

/** A session that one request has to itself, and another request that wants it: sticky in the same process. */
async function contended(mode: "non-sticky" | "sticky") {
  const running = cluster({ mode, locking: "all", lockTimeoutMs: 2000 } as ClusterOptions);
  onTestFinished(() => running.close());
  const one = running.start("app1");
  const client = testClient();
  await client.visit(one, increment);
  const first = await client.open(one);
  const other = testClient(client.cookie);
  const second = watched(other.open(mode === "sticky" ? one : running.start("app2")));
  return { running, client, first, other, second };
}

function watched(opening: Promise<SessionExchange>) {
  const watched = { opening, state: "waits" };
  opening.then(
    () => {
      watched.state = "is in";
    },
    () => {
      watched.state = "was refused";
    },
  );
  return watched;
}

for (const mode of ["non-sticky", "sticky"] as const) {
  it(`${mode}: nobody else is let in while a request has its session to itself`, async () => {
    const { running, client, first, other, second } = await contended(mode);

    await running.clock.turn(1000);
    expect(second.state).toBe("waits");
    increment(first.session!.attributes);
    await client.finish(first);
    await running.clock.turn(500);

    expect(second.state).toBe("is in");
    const exchange = await second.opening;
    increment(exchange.session!.attributes);
    expect((await other.finish(exchange)).result.outcome).toBe("stored");
    expect((await other.visit(running.start("app3"))).session?.attributes.n).toBe(3);
  });

  it(`${mode}: who waits longer than lockTimeoutMs is refused, and not let in without the lock`, async () => {
    const { running, client, first, second } = await contended(mode);

    await running.clock.turn(2500);

    expect(second.state).toBe("was refused");
    await expect(second.opening).rejects.toMatchObject({ code: "MSM_ERR_LOCK_TIMEOUT", status: 503 });
    increment(first.session!.attributes);
    expect((await client.finish(first)).result.outcome).toBe("stored");
  });
}

for (const mode of ["non-sticky", "sticky"] as const) {
  it(`${mode}: lock() rejects where it was waited for in vain, and does not go on without the lock`, async () => {
    const running = cluster({ mode, locking: "app", lockTimeoutMs: 2000 } as ClusterOptions);
    onTestFinished(() => running.close());
    const one = running.start("app1");
    const client = testClient();
    await client.visit(one, increment);
    const first = await client.open(one);
    const other = testClient(client.cookie);
    const second = await other.open(mode === "sticky" ? one : running.start("app2"));
    await first.session!.lock();

    const refused = expect(second.session!.lock()).rejects.toMatchObject({ code: "MSM_ERR_LOCK_TIMEOUT" });
    await running.clock.turn(2500);

    await refused;
    expect(first.session!.isLocked).toBe(true);
    expect(second.session!.isLocked).toBe(false);
    await Promise.all([client.finish(first), other.finish(second)]);
  });
}
