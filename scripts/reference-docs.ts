import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** A member of an interface, as its source declares it. */
export interface Member {
  readonly name: string;
  /** The text of its docstring; "" where it has none. */
  readonly doc: string;
  /** The names inside its type, where that is an object type. */
  readonly fields: readonly string[];
}

/** A `##` section of a page: its heading, and the rows of its tables, cell by cell. */
export interface Section {
  readonly heading: string;
  readonly text: string;
  readonly rows: readonly (readonly string[])[];
}

/** The string literals of a union type, in their order. */
export function unionMembers(file: string, typeName: string): string[] {
  const declaration = parse(file).statements.find(
    (node) => ts.isTypeAliasDeclaration(node) && node.name.text === typeName,
  );
  if (!declaration || !ts.isTypeAliasDeclaration(declaration) || !ts.isUnionTypeNode(declaration.type)) {
    throw new Error(`${file} has no union type ${typeName}`);
  }
  return declaration.type.types.flatMap((type) =>
    ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal) ? [type.literal.text] : [],
  );
}

/** The members of every exported interface of a file, by the interface's name. */
export function interfacesOf(file: string): Map<string, Member[]> {
  const interfaces = parse(file).statements.filter(ts.isInterfaceDeclaration);
  return new Map(interfaces.map((node) => [node.name.text, node.members.map(toMember)]));
}

/** The names that a file exports again from another one: `export type { A } from "./b.js"`. */
export function reexportsOf(file: string, from: string): string[] {
  return parse(file)
    .statements.filter(ts.isExportDeclaration)
    .filter(({ moduleSpecifier }) => moduleSpecifier?.getText() === JSON.stringify(from))
    .flatMap(({ exportClause }) =>
      exportClause && ts.isNamedExports(exportClause) ? exportClause.elements : [],
    )
    .map((element) => element.name.text);
}

/** The `##` sections of a Markdown page. */
export function sectionsOf(page: string): Section[] {
  const parts = readRepositoryFile(page).split(/^## /m).slice(1);
  return parts.map((part) => {
    const [heading = "", ...lines] = part.split("\n");
    return { heading: heading.trim(), text: lines.join("\n"), rows: lines.flatMap(rowOf) };
  });
}

/** `` `name` `` → `name` */
export const plain = (markdown: string) => markdown.replaceAll("`", "").trim();

/** Reads a file by its path from the root of the repository. */
export function readRepositoryFile(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), "utf8");
}

function rowOf(line: string): string[][] {
  // Only body rows: their first cell is code, that of a head or a rule is not.
  if (!line.startsWith("| `")) return [];
  return [
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("\\|", "|")),
  ];
}

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readRepositoryFile(file), ts.ScriptTarget.Latest, true);
}

function toMember(node: ts.TypeElement): Member {
  const type = ts.isPropertySignature(node) ? node.type : undefined;
  const fields = type && ts.isTypeLiteralNode(type) ? type.members.map(nameOf) : [];
  const doc = ts
    .getJSDocCommentsAndTags(node)
    .map((comment) => ts.getTextOfJSDocComment(comment.comment) ?? "");
  return { name: nameOf(node), doc: doc.join(" ").replace(/\s+/g, " "), fields };
}

function nameOf(node: ts.TypeElement): string {
  return node.name?.getText() ?? "";
}
