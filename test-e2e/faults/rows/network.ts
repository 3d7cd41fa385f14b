import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, type Server } from "node:net";
import { pause } from "@msm/conformance";
import { operationTimeoutMs } from "../bench.js";
import { add, demand, faultTime, type Row, type Stage } from "../row.js";
import { bothApps, cutOff, mostRelocations } from "./acts.js";

// A delay is there each way: what takes longer than half of the time an operation has is too late.

/** Rows in which the network between processes and nodes is at fault, or what answers there is not a node. */
export const networkRows: readonly Row[] = [
  {
    id: "F4a",
    title: "a node answers late, but in time",
    async inject(stage) {
      const endMs = performance.now() + stage.faultMs;
      while (performance.now() < endMs) {
        for (const proxy of stage.bench.proxiesOf("n1")) {
          proxy.delay(operationTimeoutMs * (0.08 + 0.16 * stage.random.next()));
        }
        await pause(20);
      }
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.pass();
    },
    after: tellRelocations,
  },
  {
    id: "F4b",
    title: "a node answers too late",
    async inject(stage) {
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.delay(operationTimeoutMs * 0.8);
      await faultTime(stage);
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.pass();
    },
    after: tellRelocations,
  },
  {
    id: "F5",
    title: "connections are cut in the middle of a reply",
    inject: cutInReplies,
  },
  {
    id: "F6",
    title: "a silent partition: a node's bytes are held",
    async inject(stage) {
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.hold();
      await faultTime(stage);
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.pass();
    },
    after: tellRelocations,
  },
  {
    id: "F14",
    title: "one process does not reach a node, the other does",
    async inject(stage) {
      const [first] = bothApps(stage);
      const proxy = stage.bench.proxy(first.name, "n1");
      cutOff(proxy);
      await faultTime(stage);
      proxy.pass();
    },
    after: tellRelocations,
  },
  {
    id: "F15",
    title: "one-way partition: a node's replies are held",
    async inject(stage) {
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.hold("replies");
      await faultTime(stage);
      for (const proxy of stage.bench.proxiesOf("n1")) proxy.pass();
    },
    after: tellRelocations,
  },
  {
    id: "F28",
    title: "another service answers on a node's port",
    inject: putStrangersInPlace,
  },
];

async function tellRelocations(stage: Stage): Promise<void> {
  stage.counts.set("relocations at most", mostRelocations(stage));
  stage.counts.set("repaired", stage.bench.logs.count("repaired"));
}

async function cutInReplies(stage: Stage): Promise<void> {
  const { bench, random } = stage;
  const endMs = performance.now() + stage.faultMs;
  // One node at a time: the reply of the other copy's node is not cut as well.
  const proxies = bench.proxiesOf("n1");
  for (let cuts = 0; performance.now() < endMs && cuts < 200; cuts++) {
    random.pick(proxies).cutAfter(random.between(1, 700), random.pick(["fin", "rst"]));
    await pause(stage.faultMs / 200);
    add(stage, "cuts", 1);
  }
  for (const proxy of proxies) proxy.pass();
}

/** What a process may grow by while it talks to something that is no node. */
const mostGrowthBytes = 64 * 1024 * 1024;

async function putStrangersInPlace(stage: Stage): Promise<void> {
  const { bench } = stage;
  const { server } = bench.node("n1");
  const sizes = async () => (await Promise.all(bench.apps.map((app) => bench.report(app)))).map(heapOf);
  const before = await sizes();
  await server.kill();
  for (const stranger of [httpServer(), echoServer()]) {
    stranger.listen(server.port, "127.0.0.1");
    await once(stranger, "listening");
    // Who was connected meets the stranger at once.
    for (const proxy of bench.proxiesOf("n1")) proxy.endAll("rst");
    await faultTime(stage, 0.5);
    stranger.close();
    for (const proxy of bench.proxiesOf("n1")) proxy.endAll("rst");
    await once(stranger, "close");
  }
  const growth = (await sizes()).map((size, at) => size - before[at]!);
  stage.counts.set("heap growth MB", Math.max(...growth.map((bytes) => Math.round(bytes / 1024 / 1024))));
  demand(stage, Math.max(...growth) < mostGrowthBytes, "a process grows with what a stranger answers");
  await server.restart();
}

const heapOf = ({ heapBytes }: { readonly heapBytes: number }) => heapBytes;

function httpServer(): Server {
  const server = createHttpServer((_request, response) => response.end("hello"));
  server.on("clientError", (_error, socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  return server;
}

const echoServer = (): Server =>
  createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
