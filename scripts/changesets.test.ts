import { fileURLToPath } from "node:url";
import getReleasePlan from "@changesets/get-release-plan";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

it("the changesets and their configuration make a release plan", async () => {
  // Rejects where a changeset or the configuration names a package that is not there.
  const plan = await getReleasePlan(root);

  const released = plan.releases.filter(({ type }) => type !== "none").map(({ name }) => name);
  expect(released.filter((name) => /^@msm\/(samples|test-e2e|benchmarks)$/.test(name))).toEqual([]);
});
