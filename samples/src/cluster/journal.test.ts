import { describe, expect, it } from "vitest";
import { Journal } from "./journal.js";

describe("the journal", () => {
  it("keeps the order in which things happened", () => {
    const journal = new Journal();

    journal.add("cluster", { text: "app1 is killed", tone: "trouble" });
    journal.add("balancer", { text: "app1 gets no more requests", tone: "trouble" });

    expect(journal.entries().map(({ id, text }) => [id, text])).toEqual([
      [1, "app1 is killed"],
      [2, "app1 gets no more requests"],
    ]);
  });

  it("says once what several processes say, and who says it", () => {
    const journal = new Journal();

    for (const app of ["app1", "app3", "app1"])
      journal.add(app, { text: "n1 does not answer", tone: "trouble" });

    expect(journal.entries()).toMatchObject([{ text: "n1 does not answer", by: ["app1", "app3"] }]);
  });

  it("remembers the last 100 lines", () => {
    const journal = new Journal();

    for (let at = 1; at <= 150; at += 1) journal.add("app1", { text: `line ${at}`, tone: "plain" });

    expect(journal.entries()).toHaveLength(100);
    expect(journal.entries().at(-1)).toMatchObject({ id: 150, text: "line 150" });
  });
});
