/**
 * `node micro.mjs [--rounds 15]`: what the steps cost that a request is made of, in microseconds, one after the other on one
 * core. Each round does all steps once, for 20 ms each; the table has the medians, and the best.
 *
 * The steps are none of the core's public names, so they are built from its sources, into `dist`.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { jsonCodec, systemClock } from "@msm/core";
import { build } from "tsup";
import { largeSession, smallSession } from "./servers/handlers.mjs";
import { secret } from "./servers/settings.mjs";
import { median } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "15" } } });
const rounds = Number(values.rounds);
const sliceMs = 20;
/** The clock is asked once for so many. */
const batch = 50;
/** Results go here, so that no compiler leaves out what makes them. */
const kept = { last: undefined };

const core = await buildParts();
const keys = core.deriveKeys([secret]);
const identity = core.identify(core.newSessionId());

const steps = [
  ...cookieSteps(),
  ...sessionSteps("200 B", smallSession()),
  ...sessionSteps("10 kB", largeSession()),
  ...mergeSteps(),
];
const slices = steps.map(() => []);
for (let round = 0; round <= rounds; round += 1) {
  for (const [index, step] of steps.entries()) {
    const us = microseconds(step.run);
    if (round > 0) slices[index].push(us);
  }
}
console.log(tableHead(["step", "µs", "best"]));
for (const [index, { name }] of steps.entries()) {
  console.log(tableRow([name, median(slices[index]).toFixed(2), Math.min(...slices[index]).toFixed(2)]));
}

/** What is used here of the core's sources. */
async function buildParts() {
  const parts = {
    "session-cookie": "cookie/session-cookie.ts",
    keys: "cookie/keys.ts",
    record: "session/record.ts",
    "session-id": "session/session-id.ts",
    merge: "session/merge.ts",
    "attribute-table": "session/attribute-table.ts",
  };
  const here = fileURLToPath(new URL(".", import.meta.url));
  const sources = fileURLToPath(new URL("../packages/core/src/", import.meta.url));
  await build({
    entry: Object.fromEntries(Object.entries(parts).map(([name, path]) => [name, sources + path])),
    outDir: `${here}dist`,
    format: "esm",
    target: "node20",
    config: false,
    silent: true,
    // The bundle has to find what the core depends on.
    noExternal: [/.*/],
  });
  const modules = Object.keys(parts).map((name) => import(`./dist/${name}.js`));
  return Object.assign({}, ...(await Promise.all(modules)));
}

function cookieSteps() {
  const options = {
    ...{ name: "sid", path: "/", domain: undefined, httpOnly: true, secure: "auto", sameSite: "lax" },
    ...{ maxAgeMs: undefined, partitioned: false, priority: undefined },
  };
  const cookies = core.createSessionCookies(options, keys.cookie, systemClock);
  const headers = (count) =>
    Array.from(
      { length: count },
      () => `theme=dark; sid=${cookies.value(core.newSessionId(), "n1", "app1")}`,
    );
  const ids = Array.from({ length: 100_000 }, core.newSessionId);
  return [
    {
      name: "cookie: parse and MAC, 500 sessions in turn",
      run: each(headers(500), (one) => cookies.read(one)),
    },
    {
      name: "cookie: parse and MAC, 100,000 in turn",
      run: each(headers(100_000), (one) => cookies.read(one)),
    },
    { name: "cookie: MAC of a new one", run: each(ids, (id) => cookies.value(id, "n1", "app1")) },
  ];
}

function sessionSteps(size, session) {
  const sealer = core.createSealer(keys.record);
  const record = {
    ...{ version: core.nextVersion(undefined), writeId: core.newWriteId(), ancestors: [] },
    ...{ idleTimeoutMs: 1_800_000, codec: "json", createdAtMs: Date.now(), expiresAtMs: undefined },
    ...{ route: "app1", home: "n1", ring: "0".repeat(8), table: encoded(session) },
  };
  const sealed = sealer.seal(identity, record);
  const names = Object.keys(session);
  const compare = (name) => core.sameBytes(jsonCodec.encode(session[name]), record.table.get(name));
  return [
    { name: `record: seal, ${size}`, run: () => sealer.seal(identity, record) },
    { name: `record: open, ${size}`, run: () => sealer.open(identity, sealed) },
    { name: `attributes: encode and compare all, ${size}`, run: () => names.every(compare) },
    {
      name: `attributes: decode all, ${size}`,
      run: () => names.map((name) => jsonCodec.decode(record.table.get(name))),
    },
  ];
}

function mergeSteps() {
  const base = encoded(smallSession());
  const mine = encoded({ ...smallSession(), count: 1 });
  const theirs = encoded({ ...smallSession(), seenAt: 0 });
  return [
    {
      name: "merge: one attribute each",
      run: () => core.mergeTables(base, mine, theirs, ({ mine }) => mine),
    },
    { name: "merge: nothing changed", run: () => core.mergeTables(base, base, base, ({ mine }) => mine) },
  ];
}

function encoded(session) {
  return new Map(Object.entries(session).map(([name, value]) => [name, jsonCodec.encode(value)]));
}

/** One of them after the other. */
function each(items, run) {
  let next = 0;
  return () => {
    next = (next + 1) % items.length;
    return run(items[next]);
  };
}

/** What one call takes. */
function microseconds(run) {
  const startedMs = performance.now();
  let endedMs = startedMs;
  let calls = 0;
  while (endedMs - startedMs < sliceMs) {
    for (let call = 0; call < batch; call += 1) kept.last = run();
    calls += batch;
    endedMs = performance.now();
  }
  return (1000 * (endedMs - startedMs)) / calls;
}
