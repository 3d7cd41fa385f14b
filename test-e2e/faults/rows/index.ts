import type { Row } from "../row.js";
import { nodeRows } from "./nodes.js";

/** The fault matrix, in its order. */
export const rows: readonly Row[] = [...nodeRows].sort(
  (a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)),
);
