import { METHODS } from "node:http";
import type { LockingMode, LockingPredicate } from "@msm/core";

const modes: readonly LockingMode[] = ["optimistic", "none", "all", "auto", "app"];
const wanted = `${modes.join(", ")}, path:PATTERN (a regular expression, such as path:^/counter) or method:NAMES (such as method:POST,PUT)`;

/**
 * The session manager's option `locking` out of the word that stands for it on the command line: a mode, `path:PATTERN`
 * for a RegExp on the path, `method:NAMES` for a predicate that looks at the method.
 * @throws Error that says what it got and what would do
 */
export function readLocking(given: string): LockingMode | RegExp | LockingPredicate {
  const [, kind, detail = ""] = /^(path|method):(.*)$/.exec(given) ?? [];
  if (kind === "path") return readPattern(given, detail);
  if (kind === "method") return readMethods(given, detail);
  const mode = modes.find((each) => each === given);
  if (mode === undefined) throw wrong(given);
  return mode;
}

function readPattern(given: string, pattern: string): RegExp {
  if (pattern === "") throw wrong(given);
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw wrong(given, ` (${(error as Error).message})`);
  }
}

function readMethods(given: string, names: string): LockingPredicate {
  const methods = names.toUpperCase().split(",");
  const unknown = methods.find((method) => !METHODS.includes(method));
  if (unknown !== undefined) throw wrong(given, unknown === "" ? "" : ` (there is no method ${unknown})`);
  return ({ method }) => methods.includes(method);
}

const wrong = (given: string, why = "") => new Error(`--locking must be ${wanted}; got "${given}"${why}`);
