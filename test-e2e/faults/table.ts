import { nameOf } from "./cell.js";
import type { RowReport } from "./run-row.js";

/** Says what the columns of `lineOf` are. */
export const headline = [
  "row  what happens                                  cell                     requests  ack'd  lost dbl  frgn res  new  5xx before/with/after  p99 ms            slowest",
].join("");

/** What a row came to, in a line: the counts of the common pass, then its own. */
export function lineOf(report: RowReport): string {
  const { row, cell, serverErrors, p99Ms, counts, violations, withinLimits } = report;
  const columns = [
    row.id.padEnd(4),
    row.title.padEnd(45),
    nameOf(cell).padEnd(22),
    String(report.requests).padStart(10),
    String(report.acknowledged).padStart(6),
    String(report.lost).padStart(5),
    String(report.doubled).padStart(3),
    String(report.foreign).padStart(5),
    String(report.resurrected).padStart(3),
    String(report.newIds).padStart(5),
    ` ${serverErrors.join("/")}`.padEnd(22),
    p99Ms
      .map((ms) => (Number.isNaN(ms) ? "-" : Math.round(ms)))
      .join("/")
      .padEnd(17),
    `${Math.round(report.slowestMs)} ms`.padStart(8),
    violations.length === 0 ? "ok  " : `${violations.length} VIOLATIONS`,
    withinLimits.length === 0 ? "" : `(${withinLimits.length} within limits)`,
    [...counts].map(([name, count]) => `${name} ${count}`).join(", "),
  ];
  return columns.join(" ").trimEnd();
}

const shownViolations = 10;

/** What was wrong, and how to see it again; nothing where all is well. */
export function detailsOf(report: RowReport, seed: string): string[] {
  const { row, cell, violations, withinLimits, limit, transcript } = report;
  const shown = violations.slice(0, shownViolations).map((each) => `       ${each}`);
  const more = violations.length - shown.length;
  return [
    ...(withinLimits.length > 0 ? [`       documented limit: ${limit}`] : []),
    ...shown,
    ...(more > 0 ? [`       and ${more} more`] : []),
    ...(violations.length > 0
      ? [`       pnpm faults --row ${row.id} --cell ${nameOf(cell)} --seed ${seed}   (story: ${transcript})`]
      : []),
  ];
}
