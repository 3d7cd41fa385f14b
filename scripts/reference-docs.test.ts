import { describe, expect, it } from "vitest";
import { interfacesOf, plain, reexportsOf, sectionsOf, unionMembers } from "./reference-docs.js";

const core = "packages/core/src";

/** What one side has and the other has not, as sentences that say what to do. */
function differences(page: string, what: string, inSource: readonly string[], inPage: readonly string[]) {
  return {
    toAdd: inSource
      .filter((name) => !inPage.includes(name))
      .map((name) => `add ${what} "${name}" to ${page}`),
    toRemove: inPage
      .filter((name) => !inSource.includes(name))
      .map((name) => `take "${name}" out of ${page}`),
  };
}

const none = { toAdd: [], toRemove: [] };

describe("docs/errors.md", () => {
  const page = "docs/errors.md";

  it("has a heading for each error code, and no other", () => {
    const headings = sectionsOf(page).map(({ heading }) => heading);

    const codes = unionMembers(`${core}/errors.ts`, "MsmErrorCode");
    expect(differences(page, "a heading (when it comes, what to do) for", codes, headings)).toEqual(none);
  });

  it("says for each when it comes and what to do", () => {
    for (const { heading, text } of sectionsOf(page)) {
      expect(text, heading).toMatch(/\*\*When\*\*[\s\S]+\*\*What to do\*\*/);
    }
  });
});

describe("docs/events.md", () => {
  const page = "docs/events.md";
  const events = interfacesOf(`${core}/events.ts`).get("SessionEvents") ?? [];
  const rows = sectionsOf(page).flatMap((section) => section.rows);

  it("has a row for each event, and no other", () => {
    const documented = rows.map(([name = ""]) => plain(name));

    const emitted = events.map(({ name }) => name);
    expect(differences(page, "a row for the event", emitted, documented)).toEqual(none);
  });

  it.each(events)("names the fields of $name", ({ name, fields }) => {
    const row = rows.find(([first = ""]) => plain(first) === name) ?? [];

    const documented = plain(row[1] ?? "").split(", ");
    expect(documented).toEqual(fields);
  });
});

describe("docs/options.md", () => {
  const page = "docs/options.md";
  const sections = sectionsOf(page);
  const published = reexportsOf(`${core}/index.ts`, "./options.js");
  // What options come to, once defaults are filled in, is nothing that anybody writes.
  const optionTypes = [...interfacesOf(`${core}/options.ts`)].filter(
    ([name]) => name.endsWith("Options") && !name.startsWith("Resolved") && published.includes(name),
  );

  it("has a section for each type of options", () => {
    const documented = sections.flatMap(({ heading }) => /`(\w+)`/.exec(heading)?.[1] ?? []);

    const declared = optionTypes.map(([name]) => name);
    expect(differences(page, "a section for", declared, documented)).toEqual(none);
  });

  describe.each(optionTypes)("%s", (type, members) => {
    const rows = sections.find(({ heading }) => heading.includes(`\`${type}\``))?.rows ?? [];

    it("has a row for each option, and no other", () => {
      const documented = rows.map(([name = ""]) => plain(name));

      const declared = members.map(({ name }) => name);
      expect(
        differences(page, "a row (meaning, default, limits) for the option", declared, documented),
      ).toEqual(none);
    });

    it("gives the defaults that the docstrings give", () => {
      for (const { name, doc } of members) {
        const row = rows.find(([first = ""]) => plain(first) === name) ?? [];
        const stated = defaultIn(doc);
        if (stated) expect(plain(row[2] ?? ""), `default of ${name}`).toContain(stated);
      }
    });
  });

  /** The value behind "Default" in a docstring, up to the end of its sentence. */
  function defaultIn(doc: string): string | undefined {
    return /\bDefault:? ("[^"]*"|[^.:;]+)/.exec(doc)?.[1]?.trim();
  }
});
