import { describe, expect, it } from "vitest";
import { MsmError } from "../errors.js";
import { BackOff } from "./back-off.js";

const unavailable = () => new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "connect ECONNREFUSED");

/** Milliseconds until the next try, after this many failures in a row, all at 0 ms. */
function waitAfter(failures: number): number {
  const backOff = new BackOff();
  for (let count = 0; count < failures; count += 1) backOff.failed(unavailable(), 0);
  let ms = 0;
  while (backOff.tooEarly(ms)) ms += 1;
  return ms;
}

describe("the back-off of a connection", () => {
  it("lets a connection that worked be opened anew at once", () => {
    expect(waitAfter(0)).toBe(0);
    expect(waitAfter(1)).toBe(0);
  });

  it("doubles from failure to failure, up to a tenth of a second", () => {
    expect([2, 3, 4, 5, 6, 7, 1000].map(waitAfter)).toEqual([10, 20, 40, 80, 100, 100, 100]);
  });

  it("ends with the first success", () => {
    const backOff = new BackOff();
    for (let count = 0; count < 5; count += 1) backOff.failed(unavailable(), 0);

    backOff.succeeded();
    backOff.failed(unavailable(), 0);

    expect(backOff.tooEarly(0)).toBeUndefined();
  });

  it("says what was wrong the last time, under its code", () => {
    const backOff = new BackOff();
    backOff.failed(unavailable(), 0);
    backOff.failed(new MsmError("MSM_ERR_STORAGE_TIMEOUT", "memcached load took longer than 250 ms"), 0);

    expect(backOff.tooEarly(3)?.message).toBe(
      "MSM_ERR_STORAGE_TIMEOUT: not tried for 7 ms more: memcached load took longer than 250 ms",
    );
  });
});
