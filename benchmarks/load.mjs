/** Load over plain sockets: what makes it must cost less than what answers it. */
import { once } from "node:events";
import { connect } from "node:net";

/**
 * How long: for so many seconds, or until so many requests were sent.
 * @typedef {{ readonly seconds: number } | { readonly amount: number }} Extent
 *
 * How it went. A request is answered where its status is below 300; where it is not, it has failed.
 * @typedef {object} Outcome
 * @property {number} perSecond answered requests a second
 * @property {number} answered
 * @property {number} failed
 * @property {string | undefined} firstFailure its answer, from the status on
 * @property {Float64Array} latenciesMs of those that were answered
 */

/** What a head says of its body, in either spelling of frameworks. */
const contentLength = /\r\ncontent-length: ?(\d+)/i;
const endOfHead = "\r\n\r\n";

/**
 * The bytes of a request without a body.
 * @param {string} method
 * @param {string} path
 * @param {string} [cookie]
 */
export function requestBytes(method, path, cookie) {
  const head = [`${method} ${path} HTTP/1.1`, "Host: 127.0.0.1"];
  if (cookie !== undefined) head.push(`Cookie: ${cookie}`);
  if (method === "POST") head.push("Content-Length: 0");
  return Buffer.from(head.join("\r\n") + endOfHead, "latin1");
}

/** Keep-alive connections to one server, with one request under way on each. */
export class LoadConnections {
  #sockets;
  #idle = true;

  /** @param {readonly import("node:net").Socket[]} sockets */
  constructor(sockets) {
    this.#sockets = sockets;
  }

  /**
   * @param {number} port of 127.0.0.1
   * @param {number} count
   */
  static async open(port, count) {
    const sockets = Array.from({ length: count }, () => connect({ host: "127.0.0.1", port, noDelay: true }));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return new LoadConnections(sockets);
  }

  /**
   * Sends the requests in turn, each on the next connection that is free, and waits until all are answered.
   * @param {readonly Buffer[]} requests from `requestBytes()`
   * @param {Extent} extent
   * @returns {Promise<Outcome>} rejects where a connection ends, or an answer has no length
   */
  async run(requests, extent) {
    if (!this.#idle) throw new Error("there is load on these connections already");
    this.#idle = false;
    try {
      return await run(this.#sockets, requests, extent);
    } finally {
      this.#idle = true;
      for (const socket of this.#sockets) {
        for (const event of ["data", "close", "error"]) socket.removeAllListeners(event);
        // Between two runs nobody cares why a connection ends; the next run does.
        socket.on("error", () => {});
      }
    }
  }

  close() {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** @returns {Promise<Outcome>} */
function run(sockets, requests, extent) {
  const startedMs = performance.now();
  const endsMs = "seconds" in extent ? startedMs + 1000 * extent.seconds : Number.POSITIVE_INFINITY;
  const most = "amount" in extent ? extent.amount : Number.POSITIVE_INFINITY;
  const latencies = new Latencies();
  let sent = 0;
  let failed = 0;
  let firstFailure;
  let busy = 0;
  let answeredMs = startedMs;

  return new Promise((resolve, reject) => {
    for (const socket of sockets) use(socket);
    if (busy === 0) finish();

    function use(socket) {
      let sentMs = startedMs;
      let begun = "";
      socket.on("data", (chunk) => {
        const text = begun === "" ? chunk.latin1Slice() : begun + chunk.latin1Slice();
        const wanted = answerLength(text);
        if (wanted === undefined || text.length < wanted) {
          begun = text;
          return;
        }
        if (text.length > wanted) return reject(new Error(`more than one answer: ${text.slice(0, 200)}`));
        begun = "";
        answeredMs = performance.now();
        // "HTTP/1.1 2…"
        if (text.charCodeAt(9) === 0x32) latencies.add(answeredMs - sentMs);
        else {
          failed += 1;
          firstFailure ??= text;
        }
        busy -= 1;
        if (answeredMs < endsMs && sent < most) send();
        else if (busy === 0) finish();
      });
      socket.on("close", () => reject(new Error("the server closed a connection")));
      socket.on("error", reject);
      if (socket.destroyed) return reject(new Error("the server had closed a connection"));
      if (sent < most) send();

      function send() {
        sentMs = performance.now();
        socket.write(requests[sent % requests.length]);
        sent += 1;
        busy += 1;
      }
    }

    function finish() {
      const seconds = (answeredMs - startedMs) / 1000;
      const latenciesMs = latencies.all();
      const answered = latenciesMs.length;
      resolve({ perSecond: answered / seconds, answered, failed, firstFailure, latenciesMs });
    }
  });
}

/** Bytes of the answer that begins the text; undefined while its head is not whole. */
function answerLength(text) {
  const end = text.indexOf(endOfHead);
  if (end === -1) return undefined;
  const length = contentLength.exec(text)?.[1];
  if (length === undefined) throw new Error(`an answer without Content-Length: ${text.slice(0, end)}`);
  return end + endOfHead.length + Number(length);
}

/** Numbers in one growing block: a list of a hundred thousand of them would keep the collector busy. */
class Latencies {
  #block = new Float64Array(4096);
  #count = 0;

  add(ms) {
    if (this.#count === this.#block.length) {
      const larger = new Float64Array(2 * this.#count);
      larger.set(this.#block);
      this.#block = larger;
    }
    this.#block[this.#count] = ms;
    this.#count += 1;
  }

  all() {
    return this.#block.subarray(0, this.#count);
  }
}
