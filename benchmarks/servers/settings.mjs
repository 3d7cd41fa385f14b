import { createClient } from "redis";

/** What all of them sign with. */
export const secret = "not a secret, only long enough for its task";

/** The options of msm, whichever adapter gets them. The cookie has to go over plain HTTP. */
export function msmOptions({ mode, locking }, nodes) {
  const own = mode === "sticky" ? { mode, route: "app1" } : { mode };
  return { secret, nodes, locking, ...own };
}

/** The client that connect-redis wants, connected. @param {string} url */
export async function nodeRedis(url) {
  const client = createClient({ url });
  await client.connect();
  return client;
}
