// Run by check:package, on what tsup built: both ways of require(), and both of import.
const assert = require("node:assert/strict");
const fastify = require("fastify");
const required = require("@msm/fastify");

const options = { secret: "only for the check of the built package, 32 bytes" };

async function check(plugin) {
  const app = fastify();
  app.register(plugin, options);
  app.get("/", async ({ session }) => {
    session.n = 1;
    return session;
  });
  const answer = await app.inject("/");
  assert.match(answer.headers["set-cookie"], /^sessionId=/);
  assert.equal(answer.json().n, 1);
  await app.close();
}

async function checkAll() {
  assert.equal(required, required.fastifySession);
  assert.equal(required, required.default);
  assert.equal(required.Store, required.MemoryStore);
  assert.equal(typeof new required.MemoryStore().get, "function");
  await check(required);

  const imported = await import("@msm/fastify");
  assert.equal(imported.default, imported.fastifySession);
  assert.equal(typeof new imported.Store().get, "function");
  await check(imported.default);
}

void checkAll();
