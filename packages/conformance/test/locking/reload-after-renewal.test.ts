import { expect, it } from "vitest";
import { attributesOf, begin, close, modes, open } from "./stage.js";

for (const mode of modes)
  it(`reload() goes along with a plain renewal of the id, ${mode}`, async () => {
    const { one, client } = await begin({ mode });
    const slow = await open(one, client.cookie);
    slow.session!.attributes.count = 99;
    await client.visit(one, (_, session) => session.regenerate({ keep: "all", grace: true }));

    const error = await slow.session!.reload().catch(({ code }) => code);
    const { outcome } = await close(slow);

    const { count } = await attributesOf(one, client.cookie);
    expect({ error, outcome, count }).toEqual({ error: undefined, outcome: "unneeded", count: 0 });
  });
