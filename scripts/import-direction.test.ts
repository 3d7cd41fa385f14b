import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findViolations, readSources } from "./import-direction.js";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("imports", () => {
  it("point one way in all sources", () => {
    expect(findViolations(readSources(root))).toEqual([]);
  });

  it("are read in the packages and in the samples", () => {
    const folders = new Set(readSources(root).map(({ path }) => path.split("/").slice(0, 2).join("/")));

    expect([...folders]).toEqual(
      expect.arrayContaining(["packages/core", "packages/express", "packages/koa", "samples/src"]),
    );
  });
});

describe("an import is a violation", () => {
  it.each([
    ["core/src/session/a.ts", `import { b } from "../life-cycle/b.js";`, "session may not import life-cycle"],
    ["core/src/storage/a.ts", `export * from "../session/b.js";`, "storage may not import session"],
    [
      "core/src/life-cycle/a.ts",
      `import type { B } from "../manager.js";`,
      "life-cycle may not import manager",
    ],
    ["core/src/failover/a.ts", `import { b } from "../locking/b.js";`, "failover may not import locking"],
    ["core/src/life-cycle/a.ts", `import { b } from "../options.js";`, "life-cycle may not import options"],
    [
      "core/src/life-cycle/a.ts",
      `import { type B } from "../options.js";`,
      "life-cycle may not import options",
    ],
    ["core/src/manager.ts", `import { b } from "./node/index.js";`, "manager may not import node"],
    ["core/src/manager.ts", `import { b } from "./surprise.js";`, `"surprise" has no row`],
    ["core/src/storage/a.ts", `import { Redis } from "ioredis";`, "loaded by import()"],
    ["core/src/storage/a.ts", `const redis = require("ioredis/built/x");`, "loaded by import()"],
    [
      "core/src/manager.ts",
      `const client = await import("memjs");`,
      "only core's storage/ knows client libraries",
    ],
    ["core/src/node/a.ts", `import type { Request } from "express";`, "core knows no framework"],
    ["core/src/manager.ts", `import { x } from "@msm/conformance";`, "no other package"],
    ["core/src/manager.ts", `import { x } from "../../express/src/index.js";`, "by its name, not by a path"],
    ["express/src/index.ts", `import { Redis } from "ioredis";`, "an adapter knows no storage"],
    ["express/src/index.ts", `import type { Redis } from "ioredis";`, "an adapter knows no storage"],
    ["express/src/index.ts", `import { faulty } from "@msm/conformance";`, "conformance is for tests"],
    ["koa/src/index.ts", `import { session } from "@msm/express";`, "import core only"],
    ["conformance/src/a.ts", `import { session } from "@msm/express";`, "import core only"],
  ])("packages/%s: %s", (path, text, problem) => {
    const violations = findViolations([{ path: `packages/${path}`, text: `// first line\n${text}` }]);

    expect(violations).toHaveLength(1);
    expect(violations[0]).toContain(`packages/${path}:2 imports "`);
    expect(violations[0]).toContain(problem);
  });
});

describe("an import is fine", () => {
  it.each([
    ["packages/core/src/life-cycle/a.ts", `import { b } from "../failover/b.js";`],
    ["packages/core/src/life-cycle/a.ts", `import { b } from "./b.js";`],
    ["packages/core/src/life-cycle/a.ts", `import type { B } from "../parts.js";`],
    ["packages/core/src/storage/a.ts", `import type { B } from "../options.js";`],
    ["packages/core/src/events.ts", `import type { MsmError } from "./errors.js";`],
    ["packages/core/src/node/a.ts", `import { b } from "../errors.js";`],
    ["packages/core/src/storage/a.ts", `import type { Redis } from "ioredis";`],
    ["packages/core/src/storage/a.ts", `const { Redis } = await import("ioredis");`],
    ["packages/core/src/session/a.test.ts", `import { b } from "../life-cycle/b.js";`],
    ["packages/express/src/index.ts", `import { b } from "@msm/core/node";`],
    ["packages/express/src/index.ts", `import session from "express-session";`],
    ["packages/express/test/a.test.ts", `import { b } from "@msm/conformance";`],
    ["packages/conformance/src/a.ts", `import { Redis } from "ioredis";`],
    ["samples/src/a.ts", `import { session } from "@msm/express";`],
    ["test-e2e/a.ts", `import { b } from "@msm/conformance";`],
  ])("%s: %s", (path, text) => {
    expect(findViolations([{ path, text }])).toEqual([]);
  });
});
