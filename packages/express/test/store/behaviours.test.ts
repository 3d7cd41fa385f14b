import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

/** Which file a letter on the page stands for. */
const files: Readonly<Record<string, string>> = {
  S: "store-session",
  T: "store-trouble",
  A: "store-applications",
  R: "connect-redis",
  M: "to-store",
};

it("each test that docs/behaviours-express-session-stores.md names is there", () => {
  const page = read("../../../../docs/behaviours-express-session-stores.md");
  const named = [...page.matchAll(/(?<=[|;] )([A-Z]): (.+?)(?=; {1,2}[A-Z]: | \|)/g)].map(
    ([, letter = "", title = ""]) => ({ file: files[letter], title }),
  );
  const missing = named.filter(({ file, title }) => {
    const text = file === undefined ? "" : read(`./${file}.test.ts`);
    return !text.includes(`"${title}"`) && !text.includes(`\`${title}$`);
  });

  expect(named.length).toBeGreaterThan(50);
  expect(missing).toEqual([]);
});
