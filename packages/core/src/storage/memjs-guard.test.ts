import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { Server } from "memjs";
import { afterEach, describe, expect, it } from "vitest";
import { MsmError } from "../errors.js";
import { opcode, status } from "./memcached-binary.js";
import type { MemcachedConnection } from "./memcached-connection.js";
import { get, type MemcachedReply, ping } from "./memcached-requests.js";
import { guardedConnection } from "./memjs-guard.js";

const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A request as it reached the server. */
interface Received {
  readonly opcode: number;
  readonly opaque: number;
  readonly body: Buffer;
}

/** A memcached that answers as the test says; `answer` gets one request after the other. */
async function startServer(answer: (request: Received, socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let rest = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 24 && rest.length >= 24 + rest.readUInt32BE(8)) {
        const end = 24 + rest.readUInt32BE(8);
        const body = rest.subarray(24, end);
        answer({ opcode: rest.readUInt8(1), opaque: rest.readUInt32BE(12), body }, socket);
        rest = rest.subarray(end);
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

function reply(
  request: Pick<Received, "opcode" | "opaque">,
  value = "",
  outcome: number = status.ok,
): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt8(0x81, 0);
  header.writeUInt8(request.opcode, 1);
  header.writeUInt16BE(outcome, 6);
  header.writeUInt32BE(value.length, 8);
  header.writeUInt32BE(request.opaque, 12);
  return Buffer.concat([header, Buffer.from(value)]);
}

function connectionTo(
  port: number,
  credentials?: { username: string; password: string },
): MemcachedConnection {
  const connection = guardedConnection(Server, { host: "127.0.0.1", port, credentials }, 1000);
  cleanUps.push(() => connection.end(new MsmError("MSM_ERR_CLOSED", "the test is over")));
  return connection;
}

const textOf = (reply: MemcachedReply | undefined) =>
  reply && reply.status !== "trouble" ? reply.value.toString() : undefined;

const askFor = async (connection: MemcachedConnection, key: string) =>
  textOf((await connection.ask([get(key)]))?.replies[0]);

describe("memjs, guarded", () => {
  it("gives each request its own reply, in whatever order they come", async () => {
    const waiting: Received[] = [];
    const port = await startServer((request, socket) => {
      waiting.push(request);
      if (waiting.length < 3) return;
      for (const one of waiting.splice(0).reverse()) socket.write(reply(one, one.body.toString()));
    });
    const connection = connectionTo(port);

    const answers = await connection.ask([get("a"), get("b"), get("c")]);

    expect(answers?.replies.map(textOf)).toEqual(["a", "b", "c"]);
  });

  it("keeps nothing of a connection that broke off in the middle of a reply", async () => {
    let isBroken = true;
    const port = await startServer((request, socket) => {
      const whole = reply(request, request.body.toString());
      if (!isBroken) return void socket.write(whole);
      isBroken = false;
      socket.end(whole.subarray(0, whole.length - 1));
    });
    const connection = connectionTo(port);

    await expect(askFor(connection, "first")).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });

    expect(await askFor(connection, "second")).toBe("second");
  });

  it.each([
    [
      "a number that was never asked",
      (request: Received) => reply({ ...request, opaque: request.opaque + 7 }, "x"),
    ],
    [
      "another question than was asked",
      (request: Received) => reply({ ...request, opcode: opcode.add }, "x"),
    ],
    ["the same question twice", (request: Received) => Buffer.concat([reply(request), reply(request)])],
  ])("drops a server that answers %s", async (_what, answer) => {
    const port = await startServer((request, socket) => socket.write(answer(request)));
    const connection = connectionTo(port);

    const results = await Promise.allSettled([connection.ask([get("a")]), connection.ask([ping])]);

    const last = results[1];
    expect(last?.status === "rejected" && last.reason).toMatchObject({ code: "MSM_ERR_STORAGE_PROTOCOL" });
  });

  it("sends nothing that is meant for a connection that is gone", async () => {
    let received = 0;
    const port = await startServer((request, socket) => {
      received += 1;
      socket.write(reply(request));
    });
    const connection = connectionTo(port);
    const first = await connection.ask([get("a")]);
    connection.drop(new MsmError("MSM_ERR_STORAGE_TIMEOUT", "too late"));

    expect(await connection.ask([get("b")], first?.connection)).toBeUndefined();

    expect(received).toBe(1);
  });

  it("rejects what is outstanding with the reason for which it is dropped", async () => {
    const port = await startServer(() => {});
    const connection = connectionTo(port);
    const outstanding = connection.ask([get("a")]);

    connection.drop(new MsmError("MSM_ERR_STORAGE_TIMEOUT", "too late"));

    await expect(outstanding).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });
  });

  describe("with a user name and a password", () => {
    const saslServer = (password: string) =>
      startServer((request, socket) => {
        if (request.opcode === opcode.saslMechanisms) return void socket.write(reply(request, "PLAIN"));
        if (request.opcode !== opcode.saslAuthenticate) return void socket.write(reply(request, "welcome"));
        const isRight = request.body.toString() === `PLAIN\0ada\0${password}`;
        socket.write(reply(request, "", isRight ? status.ok : status.notAuthenticated));
      });

    it("gives them before it asks anything", async () => {
      const connection = connectionTo(await saslServer("secret"), { username: "ada", password: "secret" });

      expect(await askFor(connection, "a")).toBe("welcome");
    });

    it("says that they are refused", async () => {
      const connection = connectionTo(await saslServer("secret"), { username: "ada", password: "wrong" });

      await expect(connection.ask([get("a")])).rejects.toMatchObject({
        code: "MSM_ERR_STORAGE_UNAVAILABLE",
        message: expect.stringContaining("refuses the user name or the password"),
      });
    });

    it("takes none from the environment, which may mean another server", async () => {
      process.env.MEMCACHE_USERNAME = "other";
      process.env.MEMCACHE_PASSWORD = "other";
      cleanUps.push(() => {
        delete process.env.MEMCACHE_USERNAME;
        delete process.env.MEMCACHE_PASSWORD;
      });
      const asked: number[] = [];
      const port = await startServer((request, socket) => {
        asked.push(request.opcode);
        socket.write(reply(request));
      });

      await connectionTo(port).ask([get("a")]);

      expect(asked).toEqual([opcode.get]);
    });
  });
});
