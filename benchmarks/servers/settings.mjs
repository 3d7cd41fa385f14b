import { createClient } from "redis";

/** What all of them sign with. */
export const secret = "not a secret, only long enough for its task";

/**
 * The options of msm, whichever adapter gets them: the defaults, but that a machine which is busy with something else for a
 * moment does not end a run.
 */
export function msmOptions({ mode, locking }, nodes) {
  const patience = { operationTimeoutMs: 10_000 };
  if (mode === "sticky")
    return { secret, nodes, mode, locking, route: "app1", ...patience, backupTimeoutMs: 20_000 };
  return { secret, nodes, mode, locking, ...patience };
}

/** The client that connect-redis wants, connected. @param {string} url */
export async function nodeRedis(url) {
  const client = createClient({ url });
  await client.connect();
  return client;
}
