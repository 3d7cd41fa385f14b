// Run by check:package, on what tsup built: both ways of require(), and both of import.
const assert = require("node:assert/strict");
const required = require("@msm/koa");

const app = { use() {}, context: {} };
const options = { secret: "only for the check of the built package, 32 bytes" };

assert.equal(required, required.session);
assert.equal(required, required.default);
assert.equal(typeof required(options, app), "function");
void import("@msm/koa").then((imported) => {
  assert.equal(imported.default, imported.session);
  assert.equal(typeof imported.session(app, options), "function");
});
