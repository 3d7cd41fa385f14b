import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const mode of ["non-sticky", "sticky"])
  for (const keep of ["all", "none"] as const)
    it(`a session that got two new ids in one request ends under its first one: ${mode}, keeping ${keep}`, async () => {
      const running = cluster({ mode } as ClusterOptions);
      const one = running.start("app1");
      const client = testClient();
      await client.visit(one, (attributes) => {
        attributes.user = "ann";
      });
      const old = client.cookie;
      await client.visit(one, async (attributes, session) => {
        await session.regenerate({ keep });
        await session.regenerate({ keep });
        attributes.user = "root";
      });
      const { session } = await testClient(old).visit(one);
      const found = [session!.isNew, session!.attributes.user];
      await running.close();

      expect(found).toEqual([true, undefined]);
    });
