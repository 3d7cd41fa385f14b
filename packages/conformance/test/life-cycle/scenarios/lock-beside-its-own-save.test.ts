import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const order of ["save, lock", "lock, save"])
  it(`a request alone is in conflict with nobody, though it locks while it saves: ${order}`, async () => {
    const running = cluster({ mode: "non-sticky", onConflict: "fail", nodeIds: ["n1"] } as ClusterOptions);
    const one = running.start("app1");
    const client = testClient();
    await client.visit(one, (attributes) => {
      attributes.user = "ann";
    });
    const exchange = await client.open(one);
    const session = exchange.session!;
    session.attributes.cart = 1;
    // The save is carried out, and its answer takes a while.
    const node = running.nodes.n1!;
    const { save } = node;
    let isCarriedOut = () => {};
    const carriedOut = new Promise<void>((resolve) => {
      isCarriedOut = resolve;
    });
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    node.save = async (...args) => {
      const result = await save.apply(node, args);
      isCarriedOut();
      await answered;
      return result;
    };
    const { load } = node;
    // What is asked while the save is under way comes after it.
    node.load = async (...args) => {
      if (order === "save, lock") await carriedOut;
      return load.apply(node, args);
    };
    const begin = { save: () => session.save(), lock: () => session.lock() };
    const names = order.split(", ") as ("save" | "lock")[];
    const both = Promise.allSettled(names.map((name) => begin[name]()));
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    answer();
    await running.clock.turn(3000);
    const outcomes = (await both).map(({ status }) => status);
    await client.finish(exchange);
    await running.close();

    expect(outcomes).toEqual(["fulfilled", "fulfilled"]);
  });
