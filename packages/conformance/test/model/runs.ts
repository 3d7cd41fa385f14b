import type { Parameters } from "fast-check";

/** How many stories each test plays: enough to find a slip, and few enough for every run; MSM_MODEL_STORIES for a hunt. */
export const storiesEach = Number(process.env.MSM_MODEL_STORIES ?? 1000);

/**
 * How many stories are played, and from which seed: a new one each time, or the one in MSM_MODEL_SEED, as a failed run
 * prints it (`seed`, or `seed:path` for the smallest failing story alone).
 */
export function runsOf<T>(numRuns: number): Parameters<T> {
  const [seed = "", ...path] = (process.env.MSM_MODEL_SEED ?? "").split(":");
  if (seed === "") return { numRuns };
  return { numRuns, seed: Number(seed), ...(path.length > 0 ? { path: path.join(":") } : {}) };
}
