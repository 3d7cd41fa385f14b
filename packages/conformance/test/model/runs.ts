import type { Parameters } from "fast-check";

/**
 * How many stories are played, and from which seed: a new one each time, or the one in MSM_MODEL_SEED, as a failed run
 * prints it (`seed`, or `seed:path` for the smallest failing story alone).
 */
export function runsOf<T>(numRuns: number): Parameters<T> {
  const [seed = "", ...path] = (process.env.MSM_MODEL_SEED ?? "").split(":");
  if (seed === "") return { numRuns };
  return { numRuns, seed: Number(seed), ...(path.length > 0 ? { path: path.join(":") } : {}) };
}
