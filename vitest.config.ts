import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// Tests run against the sources, so that a failing line is a line of the source. The built packages are what
// samples, test-e2e and the package checks use.
const alias = {
  "@msm/core/node": source("packages/core/src/node/index.ts"),
  "@msm/core": source("packages/core/src/index.ts"),
  "@msm/conformance": source("packages/conformance/src/index.ts"),
  "@msm/express": source("packages/express/src/index.ts"),
  "@msm/koa": source("packages/koa/src/index.ts"),
  // Under its own name it would hide @types/koa-session, which @msm/koa gives to programs in TypeScript.
  "koa-session": "koa-session-7",
  "@msm/fastify": source("packages/fastify/src/index.ts"),
};

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: "unit",
          include: [
            "packages/*/{src,test}/**/*.test.ts",
            "samples/src/**/*.test.ts",
            "scripts/**/*.test.{ts,mjs}",
          ],
          testTimeout: 30_000,
          // Most of them wait for servers and clocks, not for the processor.
          maxWorkers: 2,
        },
      },
      {
        resolve: { alias },
        test: {
          name: "e2e",
          include: ["test-e2e/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
    ],
  },
});
