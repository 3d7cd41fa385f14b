import type { SessionExchange } from "@msm/core";
import { expect, it } from "vitest";
import { begin, open } from "../locking/stage.js";

const counters = 8;

/** Appends to a list and counts, in one go, as handlers do that wait for nothing in between. */
function appendAndCount({ session }: SessionExchange, id: number): void {
  const attributes = session!.attributes;
  attributes.list = [...((attributes.list as number[] | undefined) ?? []), id];
  attributes.count = Number(attributes.count) + 1;
}

/** A sticky session whose process is gone, and the process that takes it over; `onConflict: "fail"`. */
async function orphaned() {
  const { running, one, client } = await begin({ mode: "sticky", onConflict: "fail" });
  running.kill(one);
  return { two: running.start("app2"), client };
}

it("sticky: requests that wait for one take-over do not get in each other's way", async () => {
  const { two, client } = await orphaned();

  const outcomes = await Promise.all(
    Array.from({ length: counters }, async (_, id) => {
      const exchange = await open(two, client.cookie);
      appendAndCount(exchange, id);
      const { outcome } = await exchange.commit();
      await exchange.end();
      return outcome;
    }),
  );

  expect(outcomes).toEqual(outcomes.map(() => "stored"));
  const { session } = await client.visit(two);
  expect(session?.attributes.count).toBe(counters);
  expect(session?.attributes.list).toHaveLength(counters);
});

it("sticky: nothing stays of a request that was refused, also where others have the session at the time", async () => {
  const { two, client } = await orphaned();
  const [early, late, last] = [
    await open(two, client.cookie),
    await open(two, client.cookie),
    await open(two, client.cookie),
  ];
  const seen = late.session!.attributes.user;
  early.session!.attributes.user = "bertha";
  await early.commit();
  await early.end();

  late.session!.attributes.count = 7;
  late.session!.attributes.user = `${seen} and others`;
  const { outcome } = await late.commit();
  await late.end();
  last.session!.attributes.count = Number(last.session!.attributes.count) + 1;
  await last.commit();
  await last.end();

  expect(outcome).toBe("failed");
  const { session } = await client.visit(two);
  expect(session?.attributes).toMatchObject({ user: "bertha", count: 1 });
});
