import { describe, expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

describe("a renewal with grace, where a node misses one call", () => {
  for (const mode of ["non-sticky", "sticky"])
    for (const code of ["MSM_ERR_STORAGE_UNAVAILABLE", "MSM_ERR_STORAGE_TIMEOUT"] as const) {
      for (const then of ["commit", "destroy"] as const)
        it(`ends the old id once the node is well: ${mode}, ${code}, ${then}`, async () => {
          const running = cluster({ mode, nodeIds: ["n1"] } as ClusterOptions);
          const one = running.start("app1");
          const client = testClient();
          await client.visit(one, (attributes) => {
            attributes.user = "ann";
          });
          const old = client.cookie;
          const exchange = await client.open(one);
          await exchange.session!.regenerate({ keep: "all", grace: true });
          const node = running.nodes.n1!;
          if (then === "commit") {
            // The new id is stored; the call after that fails.
            const { save } = node;
            let saves = 0;
            node.save = (...args) => {
              if (++saves === 2) node.failNext(1, code);
              return save.apply(node, args);
            };
          } else {
            node.failNext(1, code);
            await exchange.session!.destroy().catch(() => {});
          }
          await client.finish(exchange);
          await running.clock.turn(30_000);
          const late = await testClient(old).visit(one);
          const found = [late.session!.isNew, late.session!.attributes.user];
          await running.close();

          expect(found).toEqual([true, undefined]);
        });
    }
});
