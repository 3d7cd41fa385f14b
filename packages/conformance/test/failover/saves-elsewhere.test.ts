import { expect, it } from "vitest";
import { attributesOf, begin, type Closed, close, homeOf, open } from "../locking/stage.js";

it("a save that its node did not take overwrites nothing that is saved on the next one at that moment", async () => {
  const { running, one, client, id } = await begin({ mode: "non-sticky" });
  const home = homeOf(client.cookie);
  const other = running.nodes[home === "n1" ? "n2" : "n1"]!;
  const request = await open(one, client.cookie);
  request.session!.attributes.request = 1;
  running.nodes[home]!.hang();

  let closing: Promise<Closed> | undefined;
  let letGo = () => {};
  await one.withSession(id, async ({ attributes }) => {
    attributes.work = 1;
    const { load } = other;
    await new Promise<void>((arrived) => {
      other.load = async (...args) => {
        const result = await load.apply(other, args);
        if (args[0].includes("notices")) return result;
        other.load = load;
        arrived(); // what the request finds there is out of date as soon as the work is saved
        await new Promise<void>((resolve) => {
          letGo = resolve;
        });
        return result;
      };
      closing = close(request);
    });
  });
  letGo();

  expect((await closing)?.outcome).toBe("stored");
  const { cookie = client.cookie } = (await closing) ?? {};
  expect(await attributesOf(running.start("app2"), cookie)).toMatchObject({ work: 1, request: 1 });
});
