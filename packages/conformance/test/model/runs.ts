import type { Parameters } from "fast-check";

/** How many stories each test plays: enough to find a slip, and few enough for every run; MSM_MODEL_STORIES for a hunt. */
export const storiesEach = Number(process.env.MSM_MODEL_STORIES ?? 1000);

/** The stories of every run are the same, so that a change is judged by what it changed. */
const usualSeed = 20_261_122;

/**
 * How many stories are played, and from which seed: the usual one; a new one each time where MSM_MODEL_STORIES is set; or
 * the one in MSM_MODEL_SEED, as a failed run prints it (`seed`, or `seed:path` for the smallest failing story alone).
 */
export function runsOf<T>(numRuns: number): Parameters<T> {
  const [seed = "", ...path] = (process.env.MSM_MODEL_SEED ?? "").split(":");
  if (seed === "")
    return process.env.MSM_MODEL_STORIES === undefined ? { numRuns, seed: usualSeed } : { numRuns };
  return { numRuns, seed: Number(seed), ...(path.length > 0 ? { path: path.join(":") } : {}) };
}
