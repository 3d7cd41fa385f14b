import { needsProgram } from "@msm/conformance";
import { describe, expect, it } from "vitest";
import type { Policy } from "../history/policies.js";
import { lockOptions } from "./fleet.js";
import { type CellReport, runCell } from "./run-cell.js";

/** How long each cell is under load. `MSM_CHECKER_SECONDS` makes it another, for a run by hand. */
const durationMs = Number(process.env.MSM_CHECKER_SECONDS ?? 30) * 1000;

/** What a run acknowledges for each session in a second even on a machine that has much else to do. */
const leastAcknowledgedPerSecond = 1;

const programs = { memcached: "memcached", redis: "redis-server" } as const;

const cells: { title: string; policies: readonly Policy[] }[] = [
  { title: 'with locking "all"', policies: ["all"] },
  { title: "with optimistic locking", policies: ["last-write-wins", "fail", "sum"] },
];

for (const { title, policies } of cells) {
  describe.each(["sticky", "non-sticky"] as const)(`eight %s processes ${title}`, (mode) => {
    // The storages' runs share the machine and the time.
    for (const storage of ["memcached", "redis"] as const) {
      const { skip, reason } = needsProgram(programs[storage]);

      it.skipIf(skip).concurrent(
        `keep what they acknowledge while some are stopped and killed, on ${storage}${reason}`,
        { timeout: durationMs + 90_000 },
        async ({ expect }) => {
          const report = await runCell({ storage, mode, policies, durationMs });

          console.log(`  ${mode} on ${storage} ${title}: ${inWords(report)}`);
          expect(report.violations.slice(0, 20)).toEqual([]);
          // They recover within the lease and half a second, as the line above shows. On a machine that has much else to
          // do it may be more, but never so long that those who wait are refused.
          expect(Math.max(0, ...report.recoveriesMs)).toBeLessThan(lockOptions.lockTimeoutMs);
          expect(report.leastAcknowledged).toBeGreaterThan((leastAcknowledgedPerSecond * durationMs) / 1000);
        },
      );
    }
  });
}

const { skip, reason } = needsProgram(programs.memcached);

it.skipIf(skip)(
  `the checker finds the lost updates of handlers that go without their lock${reason}`,
  async () => {
    const report = await runCell({
      ...{ storage: "memcached", mode: "non-sticky", policies: ["all"], durationMs: 3000 },
      ...{ isLocked: false, faults: false },
    });

    expect(report.lost).toBeGreaterThan(0);
    expect(report.violations).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/was acknowledged and is lost/),
        expect.stringMatching(/both counted to/),
        expect.stringMatching(/was appended to/),
      ]),
    );
  },
);

function inWords(report: CellReport): string {
  const { requests, acknowledged, lost, doubled, overwritten, conflicts, p99Ms, pauses, recoveriesMs } =
    report;
  return [
    `${requests} requests, ${acknowledged} acknowledged, refused ${tallied(report.refused)}`,
    `indeterminate ${tallied(report.indeterminate)}, ${lost} lost, ${doubled} doubled`,
    `${conflicts} conflict events (${overwritten} counts overwritten), p99 ${Math.round(p99Ms)} ms`,
    `${pauses} holders stopped past their lease, recovery from kills [${recoveriesMs.map(Math.round).join(", ")}] ms`,
  ].join(", ");
}

function tallied(tally: Readonly<Record<string, number>>): string {
  const parts = Object.entries(tally).map(([key, count]) => `${count} ${key}`);
  return parts.length === 0 ? "0" : `(${parts.join(", ")})`;
}
