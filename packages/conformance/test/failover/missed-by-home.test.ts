import { expect, it } from "vitest";
import { attributesOf, begin, close, homeOf, open } from "../locking/stage.js";

it("a save is in no conflict with the version before it, which its node had missed and gets at that moment", async () => {
  const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
  const home = running.nodes[homeOf(client.cookie)]!;
  const { putIfNewer, save } = home;
  let arrive: (() => Promise<void>) | undefined;
  home.putIfNewer = (...args) => {
    home.putIfNewer = putIfNewer;
    return new Promise((resolve) => {
      arrive = async () => resolve(await putIfNewer.apply(home, args));
    });
  };
  home.save = async (...args) => {
    const result = await save.apply(home, args);
    await arrive?.();
    return result;
  };

  const request = await open(one, client.cookie);
  request.session!.attributes.count = 1;
  home.failNext(1, "MSM_ERR_STORAGE_TIMEOUT");
  await request.session!.save(); // on the other node; the home gets it later
  request.session!.attributes.count = 2;

  expect((await close(request)).outcome).toBe("stored");
  expect((await attributesOf(one, client.cookie)).count).toBe(2);
});
