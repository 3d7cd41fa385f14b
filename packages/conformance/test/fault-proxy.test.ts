import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { startFaultProxy, waitUntil } from "../src/index.js";

/** A server that answers nothing, and the connections to it. */
async function silentServer() {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { port: (server.address() as AddressInfo).port, sockets };
}

it("forgets a connection whose client hangs up and whose server resets it then", async () => {
  const { port, sockets } = await silentServer();
  const proxy = await startFaultProxy(port);
  onTestFinished(() => proxy.close());
  const client = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
  client.on("error", () => {});
  client.write("a question");
  await waitUntil("the server has it", () => sockets.length === 1);

  client.end();
  sockets[0]!.write("late");
  client.destroy();
  sockets[0]!.resetAndDestroy();

  await waitUntil("no connection is left", () => proxy.open === 0);
  expect(proxy.accepted).toBe(1);
});
