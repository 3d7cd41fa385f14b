import { needsProgram } from "@msm/conformance";
import { describe, expect, it } from "vitest";
import { type Cell, nameOf, programs } from "./cell.js";
import type { Row } from "./row.js";
import { rows } from "./rows/index.js";
import { runRow } from "./run-row.js";
import { lineOf } from "./table.js";

/** How long the load of a row runs. `MSM_FAULTS_SECONDS` makes it another, for a run by hand. */
const seconds = Number(process.env.MSM_FAULTS_SECONDS ?? 4);

const seed = process.env.MSM_FAULTS_SEED ?? "1";

/** Each row that a commit is most likely to break, and each mode on each storage; `pnpm faults` runs them all. */
const chosen: readonly (readonly [row: string, cell: Cell])[] = [
  ["F2", { storage: "redis", mode: "non-sticky" }],
  ["F3", { storage: "memcached", mode: "sticky" }],
  ["F5", { storage: "memcached", mode: "non-sticky" }],
  ["F6", { storage: "redis", mode: "sticky" }],
  ["F10", { storage: "memcached", mode: "sticky" }],
  ["F15", { storage: "memcached", mode: "non-sticky" }],
  ["F16a", { storage: "redis", mode: "non-sticky" }],
  ["F17", { storage: "memcached", mode: "non-sticky" }],
  ["F19", { storage: "redis", mode: "sticky" }],
  ["F22", { storage: "redis", mode: "sticky" }],
  ["F24", { storage: "memcached", mode: "non-sticky" }],
];

function rowOf(id: string): Row {
  const row = rows.find((each) => each.id === id);
  if (row === undefined) throw new Error(`there is no row ${id}`);
  return row;
}

// Two at a time: each of them waits more than it works.
for (let at = 0; at < chosen.length; at += 2) {
  describe("while a fault lasts, and when it is over", () => {
    for (const [id, cell] of chosen.slice(at, at + 2)) {
      const row = rowOf(id);
      const { skip, reason } = needsProgram(programs[cell.storage]);

      it.skipIf(skip).concurrent(
        `${nameOf(cell)} keeps what it acknowledged and ends what it ended: ${row.title}${reason}`,
        async ({ expect }) => {
          const report = await runRow(row, cell, { seed, seconds });

          console.log(lineOf(report));
          expect(report.violations).toEqual([]);
          expect(report.acknowledged).toBeGreaterThan(0);
        },
      );
    }
  });
}

describe("the fault matrix", () => {
  const { skip, reason } = needsProgram(programs.redis);

  it.skipIf(skip)(
    `notices what is lost with all nodes, where nothing says that it may be${reason}`,
    async () => {
      const { limits: _, ...unlimited } = rowOf("F16b");

      const report = await runRow(unlimited, { storage: "redis", mode: "non-sticky" }, { seed, seconds: 3 });

      expect(report.lost).toBeGreaterThan(0);
      expect(report.newIds).toBeGreaterThan(0);
      expect(report.violations).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/is gone, and nobody had ended it/),
          expect.stringMatching(/was given a new session id/),
        ]),
      );
    },
  );

  it("has rows of different names", () => {
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  });
});
