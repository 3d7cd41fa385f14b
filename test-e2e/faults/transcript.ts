import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Audit } from "./audit.js";
import { nameOf } from "./cell.js";
import type { Row, Stage } from "./row.js";
import { digestOf, readCookie } from "./session-cookie.js";
import { codeIn } from "./tracked-session.js";

/** What a row came to, as far as it is written down. */
interface Told {
  readonly row: Row;
  readonly seed: string;
  readonly stage: Stage;
  readonly found: Audit;
  readonly report: { readonly violations: readonly string[] };
}

/** Writes down all that happened in a row that was not passed, as lines of JSON. @returns the file's path */
export function writeTranscript({ row, seed, stage, found, report }: Told): string {
  const { bench, population, cell, counts, standstills } = stage;
  const folder = join(tmpdir(), "msm-faults");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${row.id}-${nameOf(cell).replace("/", "-")}-${seed}.jsonl`);
  const lines = [
    { row: row.id, cell, seed, counts: [...counts], violations: report.violations, standstills },
    { copies: found.copies, gone: found.gone },
    ...population.sessions.map(({ name, cookie, standing, mayBeGone }) => ({
      session: name,
      // What events and logs call it; the ids that it had before are those of dead cookies.
      called: cookie === undefined ? undefined : digestOf(readCookie(cookie).id).slice(0, 8),
      ...{ standing, mayBeGone },
    })),
    ...bench.logs.events,
    ...population.requests.map(({ answer, ...request }) => ({
      ...request,
      answer: answer.kind === "whole" ? answer.status : "broken",
      code: codeIn(answer),
    })),
    ...population.ledger.operations,
    ...population.dead.map(({ session, by, why, atMs, cookie }) => ({
      ...{ dead: session.name, by: by?.name, why, atMs },
      called: digestOf(readCookie(cookie).id).slice(0, 8),
    })),
    ...bench.logs.lines.map((line) => ({ line })),
  ];
  writeFileSync(file, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
  return file;
}
