/**
 * memcached through memjs (binary protocol) and through the meta protocol, side by side on one server:
 * `node memcached-protocols.mjs [--rounds 15] [--seconds 0.4]`. Slices of all kinds take turns; the table shows the medians,
 * and the median of the ratios between neighbours. The first round warms up and is not counted.
 */
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { memcachedStorage } from "@msm/core";
import { startNode } from "./nodes.mjs";
import { median } from "./statistics.mjs";
import { tableHead, tableRow } from "./tables.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    seconds: { type: "string", default: "0.4" },
  },
});
const rounds = Number(values.rounds);
const sliceMs = 1000 * Number(values.seconds);
const protocols = ["binary", "meta"];
const verbs = ["load", "load with lease, save with unlock", "save"];
const minuteMs = 60_000;
const filling = Buffer.alloc(1_000_000, "x");

const node = await startNode("memcached");
if (!node) {
  console.log("memcached is not installed");
} else {
  const [host, port] = node.url.split(":");
  for (const recordBytes of [2000, 50_000]) {
    for (const parallel of [1, 32]) await compare({ host, port: Number(port), recordBytes, parallel });
  }
  await node.end();
}

async function compare({ host, port, recordBytes, parallel }) {
  const storages = protocols.map((protocol) =>
    memcachedStorage({ host, port, protocol, operationTimeoutMs: 10_000 }),
  );
  const slices = verbs.map(() => protocols.map(() => []));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [verbIndex, verb] of verbs.entries()) {
      for (const [index, storage] of storages.entries()) {
        const slice = await measure(storage, verb, recordBytes, parallel);
        if (round > 0) slices[verbIndex][index].push(slice);
      }
    }
  }
  await Promise.all(storages.map((storage) => storage.close()));
  console.log(`\n${recordBytes} bytes, ${parallel} at once, medians of ${rounds} slices of ${sliceMs} ms\n`);
  console.log(
    tableHead(["", ...protocols.map((one) => `${one}, a second`), "meta / binary", "of the CPU time"]),
  );
  for (const [verbIndex, verb] of verbs.entries()) {
    const [binary, meta] = slices[verbIndex];
    const ratio = (key) => median(meta.map((slice, round) => slice[key] / binary[round][key])).toFixed(2);
    const perSecond = [binary, meta].map((all) => Math.round(median(all.map((slice) => slice.perSecond))));
    console.log(tableRow([verb, ...perSecond, ratio("perSecond"), ratio("cpuMs")]));
  }
}

/** One slice: so many at once, each with a record of its own, one operation after the other. */
async function measure(storage, verb, recordBytes, parallel) {
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  let count = 0;
  const work = async () => {
    const key = `bench:${randomBytes(16).toString("hex")}`;
    let version = 1;
    const record = () => {
      version += 1;
      return recordOf(version, recordBytes);
    };
    let { revision } = await storage.save(key, record(), minuteMs, { expect: "absent" });
    while (performance.now() - startedMs < sliceMs) {
      if (verb === "load") await storage.load(key, { renewTtlMs: minuteMs });
      else if (verb === "save") {
        ({ revision } = await storage.save(key, record(), minuteMs, { expect: revision }));
      } else {
        const lease = { token: `token-${version}`, ttlMs: minuteMs };
        ({ revision } = await storage.load(key, { lease, renewTtlMs: minuteMs }));
        ({ revision } = await storage.save(key, record(), minuteMs, {
          expect: revision,
          unlock: lease.token,
        }));
      }
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: count / seconds, cpuMs: (user + system) / 1000 / count };
}

/** As a storage sees it: its prefix, and bytes that it does not read. The idle timeout is the TTL: one trip. */
function recordOf(version, bytes) {
  const hex = (number, digits) => number.toString(16).padStart(digits, "0");
  const prefix = `M1${hex(version, 16)}${randomBytes(8).toString("hex")}${hex(minuteMs, 12)}`;
  return Buffer.concat([Buffer.from(prefix), filling], bytes);
}
