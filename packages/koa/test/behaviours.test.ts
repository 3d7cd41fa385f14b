import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

/** Which file a letter on the page stands for. */
const files: Readonly<Record<string, string>> = {
  N: "./nodes.test.ts",
  S: "./store.test.ts",
  O: "./options.test.ts",
  P: "./passport.test.ts",
  V: "./previous.test.ts",
  G: "./coming-from-koa-session.test.ts",
  C: "../../conformance/src/adapter-contract.ts",
};

it("each test that docs/behaviours-koa-session.md names is there", () => {
  const page = read("../../../docs/behaviours-koa-session.md");
  const named = [...page.matchAll(/(?<=[|;] )([A-Z]): (.+?)(?=; {1,2}[A-Z]: | \|$)/gm)].map(
    ([, letter = "", title = ""]) => ({ file: files[letter], title }),
  );
  const missing = named.filter(({ file, title }) => {
    const text = file === undefined ? "" : read(file);
    return !text.includes(`"${title}"`) && !text.includes(`'${title}'`);
  });

  expect(named.length).toBeGreaterThan(90);
  expect(missing).toEqual([]);
});
