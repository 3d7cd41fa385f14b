import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import ts from "typescript";

/** A source file; `path` is relative to the root of the repository, with slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** One import of a file, in whichever form: import, export … from, import(), require() or import("…") as a type. */
interface Import {
  readonly path: string;
  readonly line: number;
  readonly specifier: string;
  /** Gone after compilation, so that it loads nothing. */
  readonly isType: boolean;
  readonly isDynamic: boolean;
}

/**
 * The folders and top-level files of `packages/core/src`, from top to bottom. A file may import what stands in a lower
 * row, or in its own folder. A new folder or top-level file belongs into a row.
 */
const coreRows: readonly (readonly string[])[] = [
  ["node"],
  ["index"],
  ["manager"],
  ["reconfigure"],
  ["resolve-options", "create-parts", "stats", "parts"],
  ["options"],
  ["life-cycle"],
  ["locking", "failover", "cookie"],
  ["session"],
  ["storage", "codec"],
  ["background", "brief-map"],
  ["linked-list", "mac", "milliseconds", "random-text", "recent-map", "small-map", "within"],
  ["errors", "events", "clock"],
];

/** Their types describe what is handed to every step, so all of the core may name them. Their code stays above. */
const typesForAll = new Set(["options", "parts"]);

/** Base files that belong together: an event carries an error. */
const sameRowForTypes = new Set(["errors", "events", "clock"]);

const clientLibraries = new Set(["ioredis", "memjs"]);
const frameworks = new Set([
  "express",
  "express-session",
  "koa",
  "koa-session",
  "fastify",
  "@fastify/session",
]);

/** Every source file that the rules below speak of. */
export function readSources(root: string): SourceFile[] {
  return ["packages", "samples", "test-e2e", "benchmarks"].flatMap((folder) => sourcesBelow(root, folder));
}

/** One sentence for every import that points the wrong way. */
export function findViolations(files: readonly SourceFile[]): string[] {
  return files
    .filter((file) => !isTest(file.path))
    .flatMap((file) => importsOf(file).flatMap((found) => complain(found, problemOf(found))));
}

function sourcesBelow(root: string, folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return isForeign(entry.name) ? [] : sourcesBelow(root, path);
    return /\.(ts|mjs|js)$/.test(entry.name) ? [{ path, text: readFileSync(join(root, path), "utf8") }] : [];
  });
}

const isForeign = (folder: string) =>
  folder === "node_modules" || folder === "dist" || folder.startsWith(".");

/** Tests may import what they like, and so may the configuration beside a package's sources. */
function isTest(path: string): boolean {
  return /\.test\.(ts|mjs)$/.test(path) || /^packages\/[^/]+\/(?!src\/)/.test(path);
}

function complain(found: Import, problem: string | undefined): string[] {
  return problem ? [`${found.path}:${found.line} imports "${found.specifier}": ${problem}`] : [];
}

/** What is wrong with an import; undefined where nothing is. */
function problemOf(found: Import): string | undefined {
  const area = areaOf(found.path);
  return (
    problemWithPath(found) ??
    problemWithPackages(found, area) ??
    problemWithClients(found, area) ??
    (area === "core" ? problemInsideCore(found) : undefined)
  );
}

type Area = "core" | "conformance" | "adapter" | "top";

function areaOf(path: string): Area {
  const [first, second] = path.split("/");
  if (first !== "packages") return "top";
  return second === "core" || second === "conformance" ? second : "adapter";
}

function problemWithPath({ path, specifier }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const home = path
    .split("/")
    .slice(0, path.startsWith("packages/") ? 2 : 1)
    .join("/");
  const target = posix.join(posix.dirname(path), specifier);
  return target.startsWith(`${home}/`) ? undefined : "another package is imported by its name, not by a path";
}

function problemWithPackages({ path, specifier }: Import, area: Area): string | undefined {
  const target = /^@msm\/([^/]+)/.exec(specifier)?.[1];
  if (area === "core" && target)
    return "core imports no other package of this repository, and itself by paths";
  if (area === "core" && frameworks.has(specifier)) return "core knows no framework";
  if (target === "conformance" && (area === "adapter" || path.includes("/src/"))) {
    return "conformance is for tests; sources do not import it";
  }
  if (target && target !== "core" && area !== "top") {
    return "adapters and conformance import core only; what two of them need belongs into core/node";
  }
  return undefined;
}

function problemWithClients({ path, specifier, isType, isDynamic }: Import, area: Area): string | undefined {
  if (!clientLibraries.has(specifier.split("/")[0] ?? "")) return undefined;
  if (area === "adapter") return "an adapter knows no storage";
  if (area !== "core") return undefined;
  if (!path.startsWith("packages/core/src/storage/")) return "only core's storage/ knows client libraries";
  if (isType || isDynamic) return undefined;
  return "client libraries are loaded by import() when a node of their kind is configured; use `import type` for types";
}

function problemInsideCore({ path, specifier, isType }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const from = placeInCore(path);
  const to = placeInCore(posix.join(posix.dirname(path), specifier));
  if (from === to) return undefined;

  const [fromRow, toRow] = [rowOf(from), rowOf(to)];
  if (fromRow < 0 || toRow < 0) {
    return `"${fromRow < 0 ? from : to}" has no row in scripts/import-direction.ts (coreRows); give it one`;
  }
  if (toRow > fromRow) return undefined;
  if (isType && (typesForAll.has(to) || (fromRow === toRow && sameRowForTypes.has(to)))) return undefined;
  return `${from} may not import ${to}; imports point down: ${orderOfCore()}`;
}

/** "packages/core/src/session/record.ts" is in "session", "packages/core/src/errors.ts" is "errors". */
function placeInCore(path: string): string {
  return (path.split("/")[3] ?? "").replace(/\.(ts|js)$/, "");
}

const rowOf = (place: string) => coreRows.findIndex((row) => row.includes(place));

const orderOfCore = () => coreRows.map((row) => row.join(", ")).join(" → ");

function importsOf(file: SourceFile): Import[] {
  const tree = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  visit(tree);
  return found;

  function visit(node: ts.Node): void {
    const form = importForm(node);
    if (form && ts.isStringLiteralLike(form.specifier)) {
      const line = tree.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      const { isType, isDynamic } = form;
      found.push({ path: file.path, line, specifier: form.specifier.text, isType, isDynamic });
    }
    ts.forEachChild(node, visit);
  }
}

interface ImportForm {
  readonly specifier: ts.Node;
  readonly isType: boolean;
  readonly isDynamic: boolean;
}

function importForm(node: ts.Node): ImportForm | undefined {
  // `import { type A } from "a"` still loads "a" under verbatimModuleSyntax; only `import type` does not.
  if (ts.isImportDeclaration(node)) {
    const isType = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
    return { specifier: node.moduleSpecifier, isType, isDynamic: false };
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
    return { specifier: node.moduleSpecifier, isType: node.isTypeOnly, isDynamic: false };
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    return { specifier: node.argument.literal, isType: true, isDynamic: false };
  }
  if (ts.isCallExpression(node) && node.arguments[0]) {
    const isDynamic = node.expression.kind === ts.SyntaxKind.ImportKeyword;
    const isRequire = ts.isIdentifier(node.expression) && node.expression.text === "require";
    if (isDynamic || isRequire) return { specifier: node.arguments[0], isType: false, isDynamic };
  }
  return undefined;
}
