import { describe, expect, it } from "vitest";
import { attributesOf, begin, close, open } from "./stage.js";

describe("requests of a sticky session that append to a list, each in one go", () => {
  it("lose nothing, and are in conflict with nobody, whatever order they are answered in", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    const requests = await Promise.all([1, 2, 3, 4, 5].map(() => open(one, client.cookie)));

    for (const [at, { session }] of requests.entries()) {
      const { attributes } = session!;
      attributes.list = [...(attributes.list ?? []), at];
      attributes.count = (attributes.count ?? 0) + 1;
    }
    const ends = await Promise.all(requests.reverse().map((request) => close(request)));

    expect(ends.map(({ code }) => code)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(await attributesOf(one, client.cookie)).toMatchObject({ list: [0, 1, 2, 3, 4], count: 5 });
  });

  it("lose nothing of what another one pushed in place before they read it", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    await client.visit(one, (attributes) => {
      attributes.list = [0];
    });
    const pushing = await open(one, client.cookie);
    const copying = await open(one, client.cookie);

    pushing.session!.attributes.list.push(1);
    copying.session!.attributes.list = [...copying.session!.attributes.list, 2];

    expect((await close(copying)).code).toBeUndefined();
    expect((await close(pushing)).code).toBeUndefined();
    expect((await attributesOf(one, client.cookie)).list).toEqual([0, 1, 2]);
  });

  it("are told where another one pushed in place behind their reading", async () => {
    const { one, client } = await begin({ mode: "sticky", onConflict: "fail" });
    await client.visit(one, (attributes) => {
      attributes.list = [0];
    });
    const pushing = await open(one, client.cookie);
    const copying = await open(one, client.cookie);

    const seen = [...copying.session!.attributes.list];
    pushing.session!.attributes.list.push(1);
    copying.session!.attributes.list = [...seen, 2];

    expect((await close(copying)).code).toBe("MSM_ERR_CONFLICT");
    expect((await close(pushing)).code).toBeUndefined();
    expect((await attributesOf(one, client.cookie)).list).toEqual([0, 1]);
  });
});
