import { expect, it } from "vitest";
import { attributesOf, begin, homeOf } from "./stage.js";

for (const locking of ["all", "optimistic"])
  it(`non-sticky, ${locking}: work in another process overwrites nothing that was saved on another node meanwhile`, async () => {
    const { running, one, client, id } = await begin({ mode: "non-sticky", locking, onConflict: "fail" });
    const two = running.start("app2");
    const home = running.nodes[homeOf(client.cookie)]!;
    home.goDown(); // or hang(), loseReplies(), failNext(2)
    const { result } = await client.visit(one, (attributes) => {
      attributes.count = 5;
      attributes.own = 1;
    });
    expect(result.outcome).toBe("stored"); // acknowledged, on the other node
    home.comeBack();
    await running.clock.turn(90); // from about 1.5 s on it is sound

    const work = () =>
      two.withSession(id, ({ attributes }) => {
        attributes.count++;
        attributes.work = 1;
      });
    await work();
    await work();

    expect(await attributesOf(one, client.cookie)).toMatchObject({ count: 7, own: 1, work: 1 });
  });
