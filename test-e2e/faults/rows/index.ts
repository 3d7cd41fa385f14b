import type { Row } from "../row.js";
import { configurationRows } from "./configurations.js";
import { fullRows } from "./full.js";
import { networkRows } from "./network.js";
import { nodeRows } from "./nodes.js";
import { processRows } from "./processes.js";
import { recordRows } from "./records.js";
import { redisRows } from "./redis.js";
import { sessionRows } from "./sessions.js";

const numberOf = ({ id }: Row) => Number.parseInt(id.slice(1), 10);

/** The fault matrix, in its order. */
export const rows: readonly Row[] = [
  ...nodeRows,
  ...networkRows,
  ...fullRows,
  ...processRows,
  ...configurationRows,
  ...sessionRows,
  ...recordRows,
  ...redisRows,
].sort((a, b) => numberOf(a) - numberOf(b) || a.id.localeCompare(b.id));

/** True where a row may be meant by a name: "F8" means F8a, F8b and so on. */
export const isNamed = ({ id }: Row, name: string): boolean =>
  id === name || id.replace(/[a-z]$/, "") === name;
