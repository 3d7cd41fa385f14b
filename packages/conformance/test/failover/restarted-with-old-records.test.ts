import { memoryStorage, type Storage } from "@msm/core";
import { describe, expect, it } from "vitest";
import type { Cluster } from "../../src/index.js";
import { begin, homeOf } from "../locking/stage.js";

const increment = (attributes: Record<string, unknown>) => {
  attributes.count = Number(attributes.count) + 1;
};

/** A session that was changed since its node saved all that it has into a file; every node was probed. */
async function savedAndChanged(options: { readonly locking?: "all" } = {}) {
  const { running, one, client } = await begin({ mode: "non-sticky", ...options });
  const home = running.nodes[homeOf(client.cookie)]!;
  const saved = await copyOf(running, homeOf(client.cookie));
  await client.visit(one, increment);
  await running.clock.turn(1000);
  return { running, one, client, home, saved };
}

/** What a node would have that restarted from what it has now. */
async function copyOf({ nodes, clock }: Cluster, id: string): Promise<Storage> {
  const copy = memoryStorage({ clock });
  for (const key of new Set(nodes[id]!.calls.map((call) => call.key))) {
    const loaded = key === undefined ? undefined : await nodes[id]!.load(key);
    if (loaded?.kind === "found") await copy.putIfNewer(key!, loaded.record, 60_000);
  }
  return copy;
}

describe("a node that restarts at once with what it had saved before", () => {
  it("is not believed from its first answer on", async () => {
    const { one, client, home, saved } = await savedAndChanged();
    home.restartAs(saved);

    const { session } = await client.visit(one);

    expect(session?.attributes.count).toBe(1);
  });

  it("is not believed where it gives the lease with its record, and gives none to keep", async () => {
    const { running, one, client, home, saved } = await savedAndChanged({ locking: "all" });
    home.restartAs(saved);

    await client.visit(one, increment);
    const { session } = await client.visit(running.start("app2"), increment);

    expect(session?.attributes.count).toBe(3);
  });

  it("is repaired by that, and asked alone from then on", async () => {
    const { running, one, client, home, saved } = await savedAndChanged();
    home.restartAs(saved);
    await client.visit(one);
    await running.clock.turn(0);
    running.takeCounts();

    const { session } = await client.visit(one);

    expect(session?.attributes.count).toBe(1);
    expect(running.takeCounts()).toEqual({ load: 1 });
  });
});

describe("a node that may have restarted", () => {
  it("lets its sessions go on elsewhere where it then does not answer", async () => {
    const { running, one, client, home, saved } = await savedAndChanged();
    home.restartAs(saved);
    await running.clock.turn(1000);
    home.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");

    const { session } = await client.visit(one);

    expect(session?.attributes.count).toBe(1);
  });
});
