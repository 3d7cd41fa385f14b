import { expect, it } from "vitest";
import { type ClusterOptions, cluster, testClient } from "../../../src/index.js";

for (const how of ["reload()", "regenerate() and no commit"]) {
  it(`sticky: ${how} of one request takes back what that one assigned, and not what another assigned after it`, async () => {
    const running = cluster({ mode: "sticky" } as ClusterOptions);
    const manager = running.start("app1");
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.color = "red";
    });
    const [one, other] = [testClient(client.cookie), testClient(client.cookie)];
    const [ofOne, ofOther] = [await one.open(manager), await other.open(manager)];

    ofOne.session!.attributes.color = "green";
    ofOther.session!.attributes.color = "blue";
    if (how === "reload()") await ofOne.session!.reload();
    else await ofOne.session!.regenerate();
    await ofOne.end();
    const { result } = await other.finish(ofOther);
    const { session } = await client.visit(manager);
    const color = session?.attributes.color;
    await running.close();

    expect({ color, outcome: result.outcome }).toEqual({ color: "blue", outcome: "stored" });
  });
}

it("sticky: what a request changes in place before and after another one's reload() is all saved", async () => {
  const running = cluster({ mode: "sticky" } as ClusterOptions);
  const manager = running.start("app1");
  const client = testClient();
  await client.visit(manager, (attributes) => {
    attributes.cart = ["a"];
  });
  const [one, other] = [testClient(client.cookie), testClient(client.cookie)];
  const [ofOne, ofOther] = [await one.open(manager), await other.open(manager)];

  expect(ofOne.session!.attributes.cart).toEqual(["a"]); // reads only
  ofOther.session!.attributes.cart.push("b");
  await ofOne.session!.reload();
  ofOther.session!.attributes.cart.push("c");
  await ofOne.end();
  const { result } = await other.finish(ofOther);
  const { session } = await client.visit(manager);
  const cart = session?.attributes.cart;
  await running.close();

  expect({ cart, outcome: result.outcome }).toEqual({ cart: ["a", "b", "c"], outcome: "stored" });
});
