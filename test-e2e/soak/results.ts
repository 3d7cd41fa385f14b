import { type Cell, nameOf } from "../faults/cell.js";
import type { RowReport } from "../faults/run-row.js";
import type { CellCounts } from "./soak-row.js";

/** What a cell came to. */
export interface CellResult {
  readonly cell: Cell;
  /** Undefined where it broke off. */
  readonly report: RowReport | undefined;
  readonly counts: CellCounts;
}

const shown = 20;

/** What a cell came to, in lines. */
export function linesOf({ cell, report, counts }: CellResult): string[] {
  if (report === undefined) return [`  ${nameOf(cell)} broke off`];
  const { requests, acknowledged, violations, withinLimits, transcript } = report;
  const { slope, vitals } = counts;
  const more = violations.length - shown;
  return [
    `  ${requests} requests, ${acknowledged} acknowledged, in ${Math.round(report.tookMs / 1000)} s; ledger ${counts.ledgerHash}`,
    `  ${inWords(report.counts)}`,
    `  5xx: ${inWords(counts.serverErrors)}; outside faults: ${inWords(counts.outsideFaults)}`,
    `  p99 ${milliseconds(report.p99Ms[0])} before the faults, ${milliseconds(counts.p99OutsideMs)} between them; slowest ${milliseconds(report.slowestMs)}`,
    ...(vitals === undefined
      ? []
      : [
          `  heap ${vitals.before.heapMb.toFixed(1)} MB, then ${vitals.after.heapMb.toFixed(1)} MB; sockets to a node ${vitals.after.sockets}, timers ${vitals.after.timers}, waiting ${vitals.after.waiting}, RSS ${slopeInWords(slope)}`,
        ]),
    ...withinLimits.map((each) => `  within limits: ${each} (${report.limit})`),
    ...violations.slice(0, shown).map((each) => `  VIOLATION ${each}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    ...(transcript === undefined ? [] : [`  story: ${transcript}`]),
  ];
}

/** The last line. */
export function closingLine(results: readonly CellResult[]): string {
  const sum = (numberOf: (report: RowReport) => number) =>
    results.reduce((total, { report }) => total + (report === undefined ? 0 : numberOf(report)), 0);
  const faults = results.reduce((total, { counts }) => total + counts.faults, 0);
  const outside = results.flatMap(({ counts }) => [...counts.outsideFaults.values()]);
  const slopes = results.flatMap(({ counts: { slope } }) => (slope === undefined ? [] : [slope.mbPerMinute]));
  const violations = sum((report) => report.violations.length);
  const brokenOff = results.filter(({ report }) => report === undefined).length;
  return [
    `${sum(({ requests }) => requests)} requests`,
    `${faults} faults`,
    `${sum(({ acknowledged }) => acknowledged)} acknowledged`,
    `${sum(({ lost }) => lost)} lost`,
    `${sum(({ doubled }) => doubled)} doubled`,
    `${sum(({ resurrected }) => resurrected)} resurrected`,
    `${sum(({ foreign }) => foreign)} foreign`,
    `${sum(({ loggedOut }) => loggedOut)} wrongly logged out`,
    `${outside.reduce((total, count) => total + count, 0)} 5xx outside faults`,
    `RSS slope ${slopes.length === 0 ? "unknown" : `${Math.max(...slopes).toFixed(1)} MB/min`}`,
    ...(violations > 0 ? [`${violations} VIOLATIONS`] : []),
    ...(brokenOff > 0 ? [`${brokenOff} CELLS BROKE OFF`] : []),
  ].join(", ");
}

const milliseconds = (ms = Number.NaN) => (Number.isNaN(ms) ? "-" : `${Math.round(ms)} ms`);

const slopeInWords = (slope: CellCounts["slope"]) =>
  slope === undefined
    ? "unknown"
    : `${slope.mbPerMinute.toFixed(1)} MB/min over ${Math.round(slope.overSeconds)} s`;

function inWords(counts: ReadonlyMap<string, number | string>): string {
  return counts.size === 0 ? "none" : [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
}
