import { existsSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readRepositoryFile } from "./reference-docs.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = [
  "",
  "docs",
  "docs/decisions",
  "benchmarks",
  "packages/core",
  "packages/express",
  "packages/koa",
  "packages/fastify",
  "packages/conformance",
]
  .flatMap((folder) => markdownIn(folder))
  .sort();

describe.each(pages)("%s", (page) => {
  const text = readRepositoryFile(page);

  it("links to files and headings that are there", () => {
    const broken = linksIn(text).filter((link) => !leadsSomewhere(page, link));

    expect(broken).toEqual([]);
  });

  it("names only commands that package.json has", () => {
    const { scripts } = JSON.parse(readRepositoryFile("package.json"));
    const commands = [...text.matchAll(/npx -y pnpm@10 ([\w:-]+)/g)].map(([, command = ""]) => command);

    expect(commands.filter((command) => command !== "install" && !(command in scripts))).toEqual([]);
  });
});

it("every decision is in the list of decisions, and every page of docs in the list of pages", () => {
  const listed = (page: string) => linksIn(readRepositoryFile(page));
  const decisions = markdownIn("docs/decisions").map((path) => posix.basename(path));
  const docs = markdownIn("docs").map((path) => posix.basename(path));

  expect(
    decisions.filter((name) => name !== "README.md" && !listed("docs/decisions/README.md").includes(name)),
  ).toEqual([]);
  expect(docs.filter((name) => name !== "README.md" && !listed("docs/README.md").includes(name))).toEqual([]);
});

function markdownIn(folder: string): string[] {
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => posix.join(folder, name));
}

function linksIn(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = ""]) => link)
    .filter((link) => !/^https?:/.test(link));
}

function leadsSomewhere(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : posix.join(posix.dirname(page), path);
  if (!existsSync(join(root, target))) return false;
  return anchor === undefined || anchorsOf(readRepositoryFile(target)).includes(anchor);
}

/** The anchors of a page's headings, made as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}
