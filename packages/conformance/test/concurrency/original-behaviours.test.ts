import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const folders = [
  "packages/conformance/test/concurrency",
  "packages/conformance/test/failover",
  "packages/express/test",
  "test-e2e/takeover",
];
const tests = folders
  .flatMap((folder) => readdirSync(root + folder).map((name) => `${folder}/${name}`))
  .filter((path) => path.endsWith(".test.ts"))
  .map((path) => readFileSync(root + path, "utf8"))
  .join("\n");
const rows = readFileSync(`${root}docs/original-behaviours.md`, "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ") && line.includes("original "))
  .map((line) => line.slice(1, -1).split("|"))
  .map((cells) => cells.map((cell) => cell.trim()));

it("docs/original-behaviours.md has the numbers 99 to 143 and the letters of the acceptance checks", () => {
  const numbers = Array.from({ length: 45 }, (_, index) => String(99 + index));
  const letters = [..."abcdefghijklnpq"];

  // Those of nodes that are changed at run time are listed with their tests.
  const listed = rows.map(([number]) => number);
  const expected = [...numbers, ...letters].filter(
    (number) => !["126", "127"].includes(number) || listed.includes(number),
  );
  expect(listed).toEqual(expected);
});

it.each(rows)("docs/original-behaviours.md, %s, names tests that there are", (number, _behaviour, titles) => {
  for (const title of titles!.split("; ")) {
    expect(title).toMatch(new RegExp(`^original ${number}: `));
    // Titles with a value in them are compared up to it.
    const start = title.split(/ (?:primary|other) node /)[0]!;
    expect(tests).toContain(start);
  }
});
