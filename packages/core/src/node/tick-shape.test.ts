import { executionAsyncResource } from "node:async_hooks";
import { expect, it } from "vitest";
import { keepTickShape, keptTicks } from "./tick-shape.js";

it("keeps an object of the kind that Node makes for each process.nextTick()", async () => {
  keepTickShape();
  const another = await new Promise<object>((resolve) => {
    process.nextTick(() => resolve(executionAsyncResource()));
  });

  const [kept] = keptTicks;
  expect(kept).not.toBe(another);
  expect(Reflect.ownKeys(kept!)).toEqual(Reflect.ownKeys(another));
  expect(Reflect.ownKeys(another)).toContain("callback");
});
