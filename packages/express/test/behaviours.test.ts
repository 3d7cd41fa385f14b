import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

/** Where the tests are that a letter on the page stands for. */
const files: Readonly<Record<string, string>> = {
  E: "./express-session.test.ts",
  N: "./nodes-session.test.ts",
  X: "./express.test.ts",
  C: "./companions.test.ts",
  H: "./http2.test.ts",
  O: "./compat-options.test.ts",
  F: "./request-facts.test.ts",
  K: "./session-cookie.test.ts",
  "the adapter contract": "../../conformance/src/adapter-contract.ts",
};

it("each test that docs/behaviours-express-session.md names is there", () => {
  const page = read("../../../docs/behaviours-express-session.md");
  const letters = Object.keys(files).join("|");
  const named = [
    ...page.matchAll(new RegExp(`(?<=[|;] )(${letters}): (.+?)(?=; (?:${letters}): | \\|)`, "g")),
  ];
  const missing = named.filter(([, letter = "", title = ""]) => {
    const text = read(files[letter]!);
    return !['"', "'", "`"].some((quote) => text.includes(quote + title + quote));
  });

  expect(named.length).toBeGreaterThan(70);
  expect(missing.map(([whole]) => whole)).toEqual([]);
});
