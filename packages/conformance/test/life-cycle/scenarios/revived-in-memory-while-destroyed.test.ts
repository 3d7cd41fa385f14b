import { memoryStorage, type Storage } from "@msm/core";
import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

const pause = () => new Promise((resolve) => setImmediate(resolve));

/** As memcached: putIfNewer reads, compares and then writes, so that a load may come in between. */
function inTwoSteps(inner: Storage): Storage {
  return {
    kind: inner.kind,
    load: (...args) => inner.load(...args),
    save: (...args) => inner.save(...args),
    async putIfNewer(...args) {
      await pause();
      return inner.putIfNewer(...args);
    },
    touch: (...args) => inner.touch(...args),
    renewLease: (...args) => inner.renewLease(...args),
    unlock: (...args) => inner.unlock(...args),
    ping: () => inner.ping(),
    close: () => inner.close(),
  };
}

it("sticky: a request that comes while the session is destroyed does not put it back into memory", async () => {
  const running = cluster({
    mode: "sticky",
    createStorage: (clock) => inTwoSteps(memoryStorage({ clock })),
  } as ClusterOptions);
  const owner = running.start("app1");
  const client = testClient();
  await client.visit(owner, (attributes) => {
    attributes.user = "ann";
  });
  const replay = testClient(client.cookie);
  const parallel = testClient(client.cookie);

  const exchange = await client.open(owner);
  const destroying = exchange.session!.destroy();
  for (let i = 0; i < 3; i++) await Promise.resolve(); // the tombstones are on their way
  const opened = await parallel.open(owner); // e.g. an XHR that the browser sent together with the logout
  await destroying;
  await client.finish(exchange); // the client is told that it is logged out
  await parallel.finish(opened);

  const { session } = await replay.visit(owner);
  const user = session?.attributes.user;
  await running.close();
  expect(user).toBeUndefined();
});
