import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8");

it("docs/behaviours-fastify-session.md names tests that are there, and each that is run on the library itself", () => {
  const rows = read("../../../docs/behaviours-fastify-session.md")
    .split("\n")
    .filter((line) => /^\| (?!in @)/.test(line))
    .map((line) => line.slice(2, -2).split(" | "));
  const named = rows.flatMap((row) =>
    (row.at(-2) ?? "").split("; ").map((title) => ({ title, in: row.at(-1) ?? "" })),
  );
  const sources = (files: string) =>
    files.split(", ").map((file) => read(file.endsWith(".ts") ? `./${file}` : `./${file}.test.ts`));

  const missing = named.filter(({ title, in: files }) => {
    const wanted = title.replaceAll("`", "");
    return !sources(files).some((source) => source.includes(wanted));
  });
  const library = read("./library-behaviours.test.ts");
  const titles = [...library.matchAll(/^ +(?:it\(|it\.each.*\(|\]\)\(\s*)?(["'])(.+)\1, async/gm)].map(
    ([, , title = ""]) => title,
  );
  const unnamed = titles.filter((title) => !named.some((each) => each.title === title));

  expect(missing).toEqual([]);
  expect(titles.length).toBeGreaterThan(30);
  expect(unnamed).toEqual([]);
});
