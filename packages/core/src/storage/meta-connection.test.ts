import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { MsmError } from "../errors.js";
import type { MemcachedConnection } from "./memcached-connection.js";
import { add, get, type MemcachedReply, ping } from "./memcached-requests.js";
import { metaConnection } from "./meta-connection.js";

const cleanUps: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A read as it reached the server. */
interface Received {
  readonly key: string;
  /** What the reply must carry: `O` and a number. */
  readonly opaque: string;
}

/** Something that listens, and does with each connection what the test says. */
async function startServer(
  serve: (socket: Socket) => void,
): Promise<{ port: number; accepted: () => number }> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    serve(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return { port: address.port, accepted: () => accepted };
}

/** A memcached that answers reads as the test says; `answer` gets one after the other. */
const startMemcached = (answer: (request: Received, socket: Socket) => void) =>
  startServer((socket) =>
    onLines(socket, (line) => {
      const [, key = "", ...flags] = line.split(" ");
      answer({ key, opaque: flags.at(-1) ?? "" }, socket);
    }),
  );

function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = "";
  socket.on("data", (chunk) => {
    const lines = (rest + chunk.toString("latin1")).split("\r\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
}

const valueReply = ({ opaque }: Pick<Received, "opaque">, value: string) =>
  `VA ${value.length} c1 ${opaque}\r\n${value}\r\n`;

function connectionTo(
  port: number,
  credentials?: { username: string; password: string },
): MemcachedConnection {
  const connection = metaConnection({ host: "127.0.0.1", port, tls: undefined, credentials });
  cleanUps.push(() => connection.end(new MsmError("MSM_ERR_CLOSED", "the test is over")));
  return connection;
}

const textOf = (reply: MemcachedReply | undefined) =>
  reply && reply.status !== "trouble" ? reply.value.toString() : undefined;

const askFor = async (connection: MemcachedConnection, key: string) =>
  textOf((await connection.ask([get(key)]))?.replies[0]);

const tooLate = () => new MsmError("MSM_ERR_STORAGE_TIMEOUT", "too late");

describe("a connection in the meta protocol", () => {
  it("gives each request its own reply, of one batch and of several", async () => {
    const { port, accepted } = await startMemcached((request, socket) =>
      socket.write(valueReply(request, request.key)),
    );
    const connection = connectionTo(port);

    const batches = [["a", "b", "c"], ["d"], ["e", "f"]];
    const answers = await Promise.all(batches.map((keys) => connection.ask(keys.map(get))));

    expect(answers.map((one) => one?.replies.map(textOf))).toEqual(batches);
    expect(accepted()).toBe(1);
  });

  it("keeps nothing of a connection that broke off in the middle of a reply", async () => {
    let isBroken = true;
    const { port } = await startMemcached((request, socket) => {
      const whole = valueReply(request, request.key);
      if (!isBroken) return void socket.write(whole);
      isBroken = false;
      socket.end(whole.slice(0, -4));
    });
    const connection = connectionTo(port);

    await expect(askFor(connection, "first")).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });

    expect(await askFor(connection, "second")).toBe("second");
  });

  it("reads nothing of a reply that comes after it was given up", async () => {
    let late: (() => void) | undefined;
    const { port } = await startMemcached((request, socket) => {
      if (late) return void socket.write(valueReply(request, request.key));
      late = () => socket.write(valueReply(request, "late"));
      received();
    });
    let received = () => {};
    const isReceived = new Promise<void>((resolve) => {
      received = resolve;
    });
    const connection = connectionTo(port);
    const first = askFor(connection, "first");
    await isReceived;
    connection.drop(tooLate());
    await expect(first).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });

    const second = askFor(connection, "second");
    late?.();

    expect(await second).toBe("second");
    expect(await askFor(connection, "third")).toBe("third");
  });

  it.each<[string, (request: Received) => string]>([
    ["another number than was asked", ({ opaque }) => valueReply({ opaque: `${opaque}0` }, "x")],
    ["another question than was asked", ({ opaque }) => `HD c1 f1 ${opaque}\r\n`],
    ["the same question twice", (request) => valueReply(request, "x").repeat(2)],
    ["in the binary protocol", () => "\x81\x00\x00\x00"],
    ["like a web server", () => "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["what it was told", ({ key, opaque }) => `mg ${key} v c ${opaque}\r\n`],
    ["with a line that never ends", () => "x".repeat(2000)],
    ["with a value that is larger than all memory", ({ opaque }) => `VA 9999999999 c1 ${opaque}\r\n`],
    ["with a value that is longer than it said", ({ opaque }) => `VA 3 c1 ${opaque}\r\nabcdef\r\n`],
  ])(
    "drops a server that answers %s, and works again where it answers as it should",
    async (_what, answer) => {
      let isWrong = true;
      const { port } = await startMemcached((request, socket) => {
        if (request.key === "wrong")
          socket.write(isWrong ? answer(request) : valueReply(request, "right"), "latin1");
        else if (!isWrong) socket.write(valueReply(request, request.key));
        isWrong = false;
      });
      const connection = connectionTo(port);

      const [, second] = await Promise.allSettled([
        askFor(connection, "wrong"),
        askFor(connection, "unanswered"),
      ]);

      expect(second.status === "rejected" && second.reason).toMatchObject({
        code: "MSM_ERR_STORAGE_PROTOCOL",
      });
      expect(await askFor(connection, "next")).toBe("next");
    },
  );

  it("drops a server that speaks without being asked, and believes none of it", async () => {
    let speak: Socket | undefined;
    const { port, accepted } = await startMemcached((request, socket) => {
      speak ??= socket;
      socket.write(valueReply(request, request.key));
    });
    const connection = connectionTo(port);
    const first = await connection.ask([get("a")]);
    const isDropped = once(speak!, "close");

    speak?.write("VA 5 c1");
    await isDropped;

    expect(await connection.ask([ping], first?.connection)).toBeUndefined();
    expect(await askFor(connection, "b")).toBe("b");
    expect(accepted()).toBe(2);
  });

  it("drops a server that says more than it was asked, and believes none of that", async () => {
    let isFirst = true;
    const { port, accepted } = await startMemcached((request, socket) => {
      socket.write(`${valueReply(request, request.key)}${isFirst ? "VA 5 c1" : ""}`);
      isFirst = false;
    });
    const connection = connectionTo(port);

    expect(await askFor(connection, "a")).toBe("a");
    expect(await askFor(connection, "b")).toBe("b");
    expect(accepted()).toBe(2);
  });

  it("goes on where the server refuses one of several requests", async () => {
    const { port } = await startMemcached((request, socket) =>
      socket.write(request.key === "b" ? "SERVER_ERROR out of memory\r\n" : valueReply(request, request.key)),
    );

    const answers = await connectionTo(port).ask([get("a"), get("b"), get("c")]);

    expect(answers?.replies.map(({ status }) => status)).toEqual(["ok", "trouble", "ok"]);
  });

  it("sends nothing where one of several requests cannot be sent", async () => {
    const { port, accepted } = await startMemcached((request, socket) =>
      socket.write(valueReply(request, "x")),
    );
    const connection = connectionTo(port);

    await expect(connection.ask([get("a"), add("no key", Buffer.from("x"), 1)])).rejects.toMatchObject({
      code: "MSM_ERR_STORAGE_REFUSED",
    });

    expect(accepted()).toBe(0);
    expect(await askFor(connection, "a")).toBe("x");
  });

  it("sends nothing that is meant for a connection that is gone", async () => {
    let received = 0;
    const { port } = await startMemcached((request, socket) => {
      received += 1;
      socket.write(valueReply(request, "x"));
    });
    const connection = connectionTo(port);
    const first = await connection.ask([get("a")]);
    connection.drop(tooLate());

    expect(await connection.ask([get("b")], first?.connection)).toBeUndefined();

    expect(received).toBe(1);
  });

  it("rejects what is outstanding with the reason for which it is dropped", async () => {
    const { port } = await startServer(() => {});
    const connection = connectionTo(port);
    const outstanding = [connection.ask([get("a"), get("b")]), connection.ask([ping])];

    connection.drop(tooLate());

    for (const one of outstanding)
      await expect(one).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_TIMEOUT" });
  });

  it("opens no connection for each request to a server that hangs up", async () => {
    const { port, accepted } = await startServer((socket) => socket.destroy());
    const connection = connectionTo(port);
    const codes = new Set<unknown>();

    for (let count = 0; count < 1000; count += 1) {
      await connection.ask([ping]).catch((error) => codes.add(error.code));
    }

    expect([...codes]).toEqual(["MSM_ERR_STORAGE_UNAVAILABLE"]);
    expect(accepted()).toBeLessThan(500);
  });

  describe("with a user name and a password", () => {
    const credentials = { username: "ada", password: "secret" };
    const guarded = (welcome: (data: string) => string, received: string[] = []) =>
      startServer((socket) =>
        onLines(socket, (line) => {
          received.push(line);
          if (line === "ada secret") socket.write(welcome(line));
          else if (line.startsWith("mg ")) {
            socket.write(valueReply({ opaque: line.split(" ").at(-1)! }, "in"));
          }
        }),
      );

    it("gives them before it asks anything", async () => {
      const received: string[] = [];
      const { port } = await guarded(() => "STORED\r\n", received);

      expect(await askFor(connectionTo(port, credentials), "a")).toBe("in");

      expect(received.slice(0, 2)).toEqual(["set msm 0 -1 10", "ada secret"]);
      expect(received).toHaveLength(3);
    });

    it.each([
      [
        "CLIENT_ERROR authentication failure\r\n",
        "MSM_ERR_STORAGE_UNAVAILABLE",
        "refuses the user name or the password",
      ],
      [
        "SERVER_ERROR ada secret\r\n",
        "MSM_ERR_STORAGE_UNAVAILABLE",
        "has an error where it should let us in",
      ],
      ["CLIENT_ERROR ada secret\r\n", "MSM_ERR_STORAGE_UNAVAILABLE", "refuses the user name or the password"],
      ["ada secret\r\n", "MSM_ERR_STORAGE_PROTOCOL", "answers something else"],
    ])("asks nothing where the answer is %j, and says no secret", async (answer, code, message) => {
      const received: string[] = [];
      const { port } = await guarded(() => answer, received);

      const failed = connectionTo(port, credentials).ask([get("a")]);

      await expect(failed).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
      await expect(failed).rejects.not.toMatchObject({ message: expect.stringContaining("secret") });
      expect(received.filter((line) => line.startsWith("mg"))).toEqual([]);
    });
  });
});
