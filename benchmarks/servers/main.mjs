/**
 * One contestant as a process: `node servers/main.mjs '{"framework": …, "sessions": …, "nodes": "redis://…"}'`. Sends its port to
 * the parent, and its CPU time and memory when it is asked.
 */

/**
 * @typedef {object} ServerSettings
 * @property {import("../contestants.mjs").Framework} framework
 * @property {import("../contestants.mjs").Sessions} sessions
 * @property {string} nodes URLs of its storage nodes, parted by commas; "" where it has none
 */

/** @type {ServerSettings} */
const { framework, sessions, nodes } = JSON.parse(process.argv[2] ?? "");

/** A process loads one. */
const programs = {
  express: () => import("./express.mjs"),
  koa: () => import("./koa.mjs"),
  fastify: () => import("./fastify.mjs"),
};
const { listen } = await programs[framework]();

process.on("message", () => process.send?.({ cpu: process.cpuUsage(), memory: process.memoryUsage() }));
// However the run ends, nothing of it is left.
process.on("disconnect", () => process.exit());

const server = await listen(sessions, nodes);
// Connections wait for their turn, however long that takes.
Object.assign(server, { keepAliveTimeout: 3_600_000, headersTimeout: 0, requestTimeout: 0 });
process.send?.({ port: server.address().port });
