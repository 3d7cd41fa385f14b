import { once } from "node:events";
import { connect, createServer } from "node:net";

/**
 * Stands between a process and its storage node, and counts the round trips: how often something is sent after an answer
 * was received on that connection. What is sent in one go is one trip, however many commands it holds, which the servers'
 * own statistics cannot tell. Exact where one request is served at a time.
 * @param {string} nodeUrl `host:port` or `redis://host:port`
 * @returns {Promise<{ url: string, trips: () => number, end: () => void }>} the URL to use instead
 */
export async function startTripCounter(nodeUrl) {
  const { hostname, port } = new URL(nodeUrl.includes("://") ? nodeUrl : `memcached://${nodeUrl}`);
  const sockets = new Set();
  let trips = 0;
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port), noDelay: true });
    let isAnswered = true;
    near.on("data", () => {
      if (isAnswered) trips += 1;
      isAnswered = false;
    });
    far.on("data", () => {
      isAnswered = true;
    });
    near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(one);
      // Why it ended is the process' to find out; it sees its own side end.
      one.on("error", () => other.destroy());
      one.on("close", () => sockets.delete(one));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const here = `127.0.0.1:${server.address().port}`;
  return {
    url: nodeUrl.replace(`${hostname}:${port}`, here),
    trips: () => trips,
    end() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
