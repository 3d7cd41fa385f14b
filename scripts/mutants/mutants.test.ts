import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { readRepositoryFile } from "../reference-docs.js";
import { mutants } from "./mutants.mjs";
import { changed, type Mutant, mutatedFiles } from "./mutate.mjs";
import { closing, judge, problemsOf, type Run, runOf, table, type Verdict } from "./report.mjs";
import { linksBack, Workspace } from "./workspace.mjs";

const repository = fileURLToPath(new URL("../..", import.meta.url));

describe("a change", () => {
  const change = (find: string, replace: string) => ({ file: "a.ts", find, replace });

  it("replaces the one place where its text is", () => {
    expect(changed("one two three", change("two", "2"))).toBe("one 2 three");
  });

  it("puts in what it says, whatever characters that has", () => {
    expect(changed("one two three", change("two", "$& $1 $$"))).toBe("one $& $1 $$ three");
  });

  it.each([
    ["is not there", "four", "4", "0 times"],
    ["is there twice", "e", "x", "3 times"],
    ["is empty", "", "x", "0 times"],
    ["stays the same", "two", "two", "replaced by itself"],
  ])("is refused where the text %s", (_what, find, replace, message) => {
    expect(() => changed("one two three", change(find, replace))).toThrow(message);
  });
});

describe("a mutant", () => {
  const mutant = (...changes: Mutant["changes"]): Mutant => ({
    name: "a-mutant",
    breaks: "",
    changes,
    catchers: [],
  });
  const read = (file: string) => `${file}: one two`;

  it("makes all its changes, also several in one file", () => {
    const changes = [
      { file: "a", find: "one", replace: "1" },
      { file: "a", find: "two", replace: "2" },
      { file: "b", find: "one", replace: "1" },
    ];

    expect([...mutatedFiles(mutant(...changes), read)]).toEqual([
      ["a", "a: 1 2"],
      ["b", "b: 1 two"],
    ]);
  });

  it("is named where one of its changes cannot be made", () => {
    expect(() => mutatedFiles(mutant({ file: "a", find: "three", replace: "3" }), read)).toThrow(
      /mutant a-mutant: a has this 0 times/,
    );
  });
});

describe("the list of mutants", () => {
  it.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
    "%s still fits the sources",
    (_, mutant) => {
      expect(() => mutatedFiles(mutant, readRepositoryFile)).not.toThrow();
      expect(mutant.catchers.filter(({ file }) => !existsSync(`${repository}/${file}`))).toEqual([]);
      expect(mutant.catchers.length).toBeGreaterThan(0);
    },
  );

  it("names each mutant once", () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
  });

  it.each([
    "constant-token",
    "unconditional-unlock",
    "save-without-version",
    "set-for-replace",
    "no-tombstone",
    "tombstone-on-primary-only",
    "secondary-by-local-availability",
    "no-mac",
    "unknown-as-absent",
    "add-retried-without-compare",
    "lock-wait-falling-through",
  ])("has a mutant of the kind %s", (kind) => {
    expect(mutants.map(({ name }) => name.split("/")[0])).toContain(kind);
  });

  it("stands in docs/mutants.md, mutant by mutant with its tests, and no other does", () => {
    const rows = readRepositoryFile("docs/mutants.md")
      .split("\n")
      .filter((line) => line.startsWith("| `"));

    expect(rows).toEqual(mutants.map(rowOf));
  });
});

describe("the report of a run", () => {
  const test = (fullName: string, status: string) => ({ fullName, status });
  const file = (status: string, ...assertionResults: { fullName: string; status: string }[]) => ({
    name: "/a.test.ts",
    status,
    message: "SyntaxError: nonsense\n    at a.ts",
    assertionResults,
  });

  it("tells which tests passed, which failed, and nothing of those that did not run", () => {
    const report = {
      testResults: [file("failed", test("one", "passed"), test("two", "failed"), test("three", "skipped"))],
    };

    expect(runOf(report, "")).toEqual({
      ran: true,
      passed: ["one"],
      failed: ["two"],
      broken: [],
      output: "",
    });
  });

  it("tells of a file that failed without a test that did: it could not be loaded, or a hook threw", () => {
    const report = { testResults: [file("failed"), file("failed", test("one", "skipped"))] };

    expect(runOf(report, "").broken).toEqual(Array(2).fill("/a.test.ts: SyntaxError: nonsense"));
  });

  it("tells that there is none", () => {
    expect(runOf(undefined, "killed")).toMatchObject({ ran: false, output: "killed" });
  });
});

describe("a mutant's run", () => {
  const mutant: Mutant = { name: "m", breaks: "", changes: [], catchers: [] };
  const run = (parts: Partial<Run> = {}): Run => ({
    ran: true,
    passed: [],
    failed: [],
    broken: [],
    output: "",
    ...parts,
  });
  const baseline = run({ passed: ["one", "two"] });

  it.each<[string, Partial<Run>, Verdict["kind"], string]>([
    ["that fails a test kills it", { passed: ["one"], failed: ["two"] }, "killed", "two"],
    ["that fails no test lets it survive", { passed: ["one", "two"] }, "survived", "2 tests pass"],
    ["that fails only what never passed is unclear", { failed: ["three"] }, "unclear", "no test ran"],
    ["that loads no file is unclear", { broken: ["/a.test.ts: no"] }, "unclear", "/a.test.ts: no"],
    ["that runs no test is unclear", {}, "unclear", "no test ran"],
    [
      "that crashes is unclear",
      { ran: false, output: "out of memory" },
      "unclear",
      "no report: out of memory",
    ],
  ])("%s", (_what, parts, kind, detail) => {
    expect(judge(mutant, run(parts), baseline)).toMatchObject({ kind, detail });
  });

  it("that fails not all of the tests that should catch it is unclear: the list is wrong", () => {
    const named = {
      ...mutant,
      catchers: [
        { file: "a.test.ts", title: "two" },
        { file: "a.test.ts", title: "one" },
      ],
    };

    expect(judge(named, run({ passed: ["one"], failed: ["two"] }), baseline)).toMatchObject({
      kind: "unclear",
      detail: 'fails "two", but not "one"',
    });
    expect(judge(named, run({ failed: ["one", "two"] }), baseline).kind).toBe("killed");
  });

  it("is measured against unchanged sources whose tests pass, and are those that the list names", () => {
    const named = { ...mutant, catchers: [{ file: "a.test.ts", title: "no such test" }] };

    expect(problemsOf(baseline, [mutant])).toEqual([]);
    expect(problemsOf(run({ failed: ["two"] }), [mutant])).toEqual(["fails: two"]);
    expect(problemsOf(run({ broken: ["/a.test.ts: no"] }), [mutant])).toEqual(["/a.test.ts: no"]);
    expect(problemsOf(run({ ran: false }), [mutant])).toHaveLength(1);
    expect(problemsOf(baseline, [named])).toEqual(['m: no test passed whose name ends with "no such test"']);
  });

  it("has a row with the first test that caught it, and how many more did", () => {
    const rows = table([
      { mutant, kind: "killed", detail: "one", failures: 3 },
      { mutant: { ...mutant, name: "longer" }, kind: "survived", detail: "2 tests pass" },
    ]);

    expect(rows).toEqual(["killed    m       one (and 2 more)", "survived  longer  2 tests pass"]);
  });

  it.each<[Verdict["kind"][], boolean, string, number]>([
    [["killed", "killed"], false, "2 killed, 0 survived", 0],
    [["killed", "survived", "unclear"], false, "1 killed, 2 survived", 2],
    [["killed", "skipped"], false, "1 killed, 0 survived, 1 skipped", 0],
    [["killed", "skipped"], true, "1 killed, 1 survived", 1],
  ])("counts: %j, in CI %s: %s", (kinds, skippedSurvives, line, survived) => {
    const verdicts = kinds.map((kind) => ({ mutant, kind, detail: "" }));

    expect(closing(verdicts, { skippedSurvives })).toEqual({ line, survived });
  });
});

describe("the copy of the repository", () => {
  const workspace = () => {
    const made = new Workspace(repository);
    onTestFinished(() => made.close());
    return made;
  };

  it("has no way back to the sources that it was made of", () => {
    const { root } = workspace();

    expect(existsSync(`${root}/packages/express/node_modules/@msm/core/src/index.ts`)).toBe(true);
    expect(linksBack(root, repository)).toEqual([]);
  });

  it("has the mutant's sources while its tests run, and the right ones again after that", async () => {
    const copy = workspace();
    const file = "packages/core/src/storage/record-prefix.ts";
    const mutant: Mutant = {
      name: "m",
      breaks: "",
      changes: [
        {
          file,
          find: "export const recordPrefixBytes = 46;",
          replace: "export const recordPrefixBytes = 45;",
        },
      ],
      catchers: [],
    };

    const during = await copy.mutated(mutant, async () => copy.read(file));
    await expect(copy.mutated(mutant, () => Promise.reject(new Error("no")))).rejects.toThrow("no");

    expect(during).toContain("recordPrefixBytes = 45;");
    expect(copy.read(file)).toBe(readRepositoryFile(file));
    expect(readRepositoryFile(file)).toContain("recordPrefixBytes = 46;");
  });
});

/** A mutant's row of the page. */
function rowOf({ name, breaks, catchers }: Mutant): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  return `| \`${name}\` | ${cell(breaks)} | ${catchers.map(({ title }) => cell(title)).join("; ")} |`;
}
