import { fileURLToPath } from "node:url";

// The built files lie side by side in dist/, whichever of them this module became a part of.
const beside = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** What the supervisor starts and serves. */
export const files = {
  app: beside("./app.js"),
  devMemcached: beside("./dev-memcached.js"),
  reaper: beside("./reaper.js"),
  page: beside("../page/index.html"),
};
