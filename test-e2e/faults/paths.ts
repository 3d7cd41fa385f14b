import { createRequire } from "node:module";

/** Where a file of this package lies, e.g. "faults/app.mjs": the runner is bundled into another folder. */
export const pathOf = (file: string): string =>
  createRequire(import.meta.url).resolve(`@msm/test-e2e/${file}`);
