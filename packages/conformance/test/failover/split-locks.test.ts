import type { SessionExchange } from "@msm/core";
import { expect, it } from "vitest";
import { testClient, testClock } from "../../src/index.js";
import { open } from "../locking/stage.js";
import { type Process, passing, startProcesses } from "./separate-views.js";

function append({ session }: SessionExchange, id: string): void {
  const { attributes } = session!;
  attributes.list = [...((attributes.list as string[] | undefined) ?? []), id];
}

async function commit(exchange: SessionExchange): Promise<string> {
  const { outcome } = await exchange.commit();
  await exchange.end();
  return outcome;
}

it("two processes that lock a session on different nodes keep what they acknowledge, and nothing of what they refuse", async () => {
  const clock = testClock();
  const [one, two] = startProcesses(2, clock) as [Process, Process];
  const client = testClient();
  await client.visit(two.manager, (attributes) => {
    attributes.list = [];
  });
  await clock.turn(100);
  const primary = client.cookie!.split("-")[1]!;
  one.ways[primary]!.goDown();
  await clock.turn(1100);

  const [first, second] = [await open(one.manager, client.cookie), await open(two.manager, client.cookie)];
  const waiting = open(two.manager, client.cookie);
  append(first, "first");
  append(second, "second");
  const outcomes = new Map([["first", await commit(first)]]);
  outcomes.set("second", await passing(clock, commit(second)));
  const last = await passing(clock, waiting);
  append(last, "last");
  outcomes.set("last", await passing(clock, commit(last)));

  expect(outcomes.get("first")).toBe("stored");
  expect(outcomes.get("second")).toBe("failed");
  const acknowledged = [...outcomes].filter(([, outcome]) => outcome === "stored").map(([id]) => id);
  for (const { manager } of [one, two]) {
    const { session } = await passing(clock, testClient(client.cookie).visit(manager));
    expect(session?.attributes.list).toEqual(acknowledged);
  }
});
