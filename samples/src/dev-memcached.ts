import { parseArgs } from "node:util";
import { createDevMemcached } from "./dev-memcached/server.js";

/*
 * node dist/dev-memcached.js --port N
 *
 * The storage node of the demo clusters where neither memcached nor Redis is installed. A process of its own, so that
 * it can be stopped and killed like the real one.
 */
const { values } = parseArgs({ options: { port: { type: "string", default: "11211" } } });
const host = "127.0.0.1";

const server = createDevMemcached();
server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
server.listen(Number(values.port), host, () => console.log(`listening on ${host}:${values.port}`));

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(0));
