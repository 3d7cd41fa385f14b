import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { MsmError } from "../errors.js";
import type { CommitResult, SessionExchange } from "../life-cycle/exchange.js";
import { holdResponse } from "./hold-response.js";

const sessionCookie = "sid=abc; Path=/";
const unavailable = new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "a test's fault");

/** An exchange whose commits a test lets through, one by one or all. */
class TestExchange implements SessionExchange {
  readonly session = undefined;
  commits = 0;
  ends = 0;
  /** What commits give; the last one goes on for all that follow. */
  outcomes: CommitResult[] = [{ outcome: "stored" }];
  #waiting: (() => void)[] = [];
  #holds = false;
  #isNeeded = true;

  cookie = (): string | undefined => sessionCookie;

  commit(): CommitResult | Promise<CommitResult> {
    if (!this.#isNeeded) {
      this.commits++;
      return { outcome: "unneeded" };
    }
    return this.#save();
  }

  async #save(): Promise<CommitResult> {
    this.commits++;
    const result = (this.outcomes.length > 1 ? this.outcomes.shift() : this.outcomes[0])!;
    if (this.#holds) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return result;
  }

  async end(): Promise<void> {
    this.ends++;
  }

  /** From now on, there is nothing to save. */
  needNotWait(): this {
    this.#isNeeded = false;
    return this;
  }

  /** From now on, commits wait for `release()`. */
  hold(): this {
    this.#holds = true;
    return this;
  }

  release(): void {
    this.#holds = false;
    for (const go of this.#waiting.splice(0)) go();
  }
}

const failing = (): TestExchange => {
  const exchange = new TestExchange();
  exchange.outcomes = [{ outcome: "failed", error: unavailable }];
  return exchange;
};

type Handler = (res: http.ServerResponse, req: http.IncomingMessage) => unknown;

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server): Promise<number> {
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Serves with a held response, and asks once. */
async function ask(
  exchange: TestExchange,
  handler: Handler,
  options: http.RequestOptions & { before?: Handler } = {},
) {
  const server = http.createServer((req, res) => {
    options.before?.(res, req);
    holdResponse(res, exchange, { answerError: (error) => res.end(`error answer: ${error.message}`) });
    void Promise.resolve(handler(res, req)).catch((error: Error) => res.destroy(error));
  });
  const port = await listen(server);
  return new Promise<{
    status: number | undefined;
    message: string | undefined;
    headers: http.IncomingHttpHeaders;
    rawHeaders: string[];
    trailers: NodeJS.Dict<string>;
    body: string;
  }>((resolve, reject) => {
    const request = http.request({ port, host: "127.0.0.1", agent: false, ...options }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (data: string) => {
        body += data;
      });
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode: status, statusMessage: message, headers, rawHeaders, trailers } = response;
        resolve({ status, message, headers, rawHeaders, trailers, body });
      });
    });
    request.on("error", reject);
    request.end();
  });
}

describe("a held response", () => {
  it("looks sent to the application from end() on, and takes no more headers", async () => {
    const exchange = new TestExchange().hold();
    const seen: unknown[] = [];

    const answer = await ask(exchange, (res) => {
      res.setHeader("X-A", "1");
      res.end("body");
      seen.push(res.headersSent, res.writableEnded, res.getHeader("X-A"), res.statusCode);
      for (const late of [
        () => res.setHeader("X-A", "2"),
        () => res.appendHeader("X-A", "2"),
        () => res.removeHeader("X-A"),
        () => res.writeHead(500),
      ]) {
        expect(late).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
      }
      res.statusCode = 500;
      exchange.release();
    });

    expect(seen).toEqual([true, true, "1", 200]);
    expect(answer).toMatchObject({ status: 200, body: "body" });
    expect(answer.headers["x-a"]).toBe("1");
  });

  it("looks sent from writeHead() and from the first write() on", async () => {
    const seen: boolean[] = [];

    await ask(new TestExchange(), (res) => {
      res.writeHead(200);
      seen.push(res.headersSent);
      res.end();
    });
    await ask(new TestExchange(), (res) => {
      res.write("a");
      seen.push(res.headersSent);
      res.end();
    });

    expect(seen).toEqual([true, true]);
  });

  it("bears older middlewares, which call Node's _implicitHeader() where they see no head", async () => {
    const answer = await ask(new TestExchange(), (res) => {
      for (const part of ["a", "b"]) {
        if (!Reflect.get(res, "_header"))
          Reflect.apply(Reflect.get(res, "_implicitHeader") as () => void, res, []);
        res.write(part);
      }
      res.end();
    });

    expect(answer.body).toBe("ab");
  });

  it("has Node's own face again once it is out", async () => {
    let response: http.ServerResponse | undefined;

    await ask(new TestExchange(), (res) => {
      response = res;
      res.end("body");
    });

    expect(["headersSent", "setHeader"].filter((name) => Object.hasOwn(response!, name))).toEqual([]);
    expect([response?.headersSent, response?.writableEnded, response?.writableFinished]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it("is out before end() returns where nothing has to be saved", async () => {
    const exchange = new TestExchange().needNotWait();
    let endsAtOnce = 0;

    const { headers, body } = await ask(exchange, (res) => {
      res.end("body");
      endsAtOnce = exchange.ends;
    });

    expect([headers["set-cookie"], headers["content-length"], body]).toEqual([[sessionCookie], "4", "body"]);
    expect([endsAtOnce, exchange.ends, exchange.commits]).toEqual([1, 1, 1]);
  });

  it("gives way to the error's answer where Node refuses it, once its handler is done", async () => {
    const exchange = new TestExchange().needNotWait();
    const order: string[] = [];
    const refuseOnce = (res: http.ServerResponse) => {
      const { writeHead } = res;
      let refusals = 1;
      res.writeHead = (status: number) => {
        if (refusals-- > 0) throw new Error("refused");
        return writeHead.call(res, status);
      };
    };

    const { status, body } = await ask(
      exchange,
      (res) => {
        res.on("finish", () => order.push("answer"));
        res.writeHead(200);
        res.end("body");
        order.push("handler");
      },
      { before: refuseOnce },
    );

    expect([status, body]).toEqual([500, "error answer: refused"]);
    expect(order).toEqual(["handler", "answer"]);
    expect(exchange.ends).toBe(1);
  });

  it("commits once where it ends in one go, and gives the exchange back once", async () => {
    const exchange = new TestExchange();

    await ask(exchange, (res) => res.end("body"));

    expect([exchange.commits, exchange.ends]).toEqual([1, 1]);
  });

  it("does not commit before what a handler does between writeHead() and end()", async () => {
    const exchange = new TestExchange();
    let commitsBeforeEnd = -1;

    await ask(exchange, async (res) => {
      res.writeHead(200);
      await new Promise((resolve) => setImmediate(resolve));
      commitsBeforeEnd = exchange.commits;
      res.end("body");
    });

    expect([commitsBeforeEnd, exchange.commits]).toEqual([0, 1]);
  });

  it("commits when it is flushed, and again at its end", async () => {
    const exchange = new TestExchange();

    await ask(exchange, async (res) => {
      res.flushHeaders();
      await new Promise<void>((resolve) => res.write("a", () => resolve()));
      res.end("b");
    });

    expect([exchange.commits, exchange.ends]).toEqual([2, 1]);
  });

  it("calls the callbacks of write() and end(), in all their forms", async () => {
    const called: string[] = [];

    const answer = await ask(new TestExchange(), async (res) => {
      res.write("YQ==", "base64", () => called.push("write with encoding"));
      res.write("b", () => called.push("write"));
      res.end("63", "hex", () => called.push("end"));
      res.end(() => called.push("second end"));
    });
    await vi.waitFor(() => expect(called).toHaveLength(4));

    expect(answer.body).toBe("abc");
    expect(called.filter((name) => name.startsWith("write"))).toEqual(["write with encoding", "write"]);
  });

  it("is empty after end() and end(callback)", async () => {
    const called = vi.fn();

    expect((await ask(new TestExchange(), (res) => res.end())).headers["content-length"]).toBe("0");
    expect((await ask(new TestExchange(), (res) => res.end(called))).body).toBe("");
    await vi.waitFor(() => expect(called).toHaveBeenCalledOnce());
  });

  it("throws at the handler what Node throws: bad chunks, codes, messages and headers", async () => {
    const codes: unknown[] = [];
    const attempt = (bad: () => unknown) => {
      try {
        bad();
      } catch (error) {
        codes.push((error as NodeJS.ErrnoException).code);
      }
    };

    const answer = await ask(new TestExchange(), (res) => {
      attempt(() => Reflect.apply(res.end, res, [42]));
      attempt(() => Reflect.apply(res.write, res, [null]));
      attempt(() => res.writeHead(42));
      attempt(() => res.writeHead(200, "two\nlines"));
      attempt(() => res.writeHead(200, { "X-A": "\u{1f980}" }));
      attempt(() => res.writeHead(200, ["X-A"]));
      res.end("fine");
    });

    expect(codes).toEqual([
      "ERR_INVALID_ARG_TYPE",
      "ERR_STREAM_NULL_VALUES",
      "ERR_HTTP_INVALID_STATUS_CODE",
      "ERR_INVALID_CHAR",
      "ERR_INVALID_CHAR",
      "ERR_INVALID_ARG_VALUE",
    ]);
    expect(answer.body).toBe("fine");
  });

  it("lets an error answer instead, where Node refuses the answer after the commit", async () => {
    const answer = await ask(new TestExchange(), (res) => {
      res.strictContentLength = true;
      res.setHeader("Content-Length", 3);
      res.write("fo");
      res.end("ur");
    }).catch((error: Error) => error);

    expect(answer).toBeInstanceOf(Error); // bytes are out: the connection is cut, and the process lives
  });

  describe("whose head is given in one piece", () => {
    const exchanges = {
      "that waits for its commit": () => new TestExchange(),
      "with nothing to save": () => new TestExchange().needNotWait(),
    };
    for (const [kind, make] of Object.entries(exchanges)) {
      it(`sends it as it was then, ${kind}`, async () => {
        const headers: Record<string, string | number> = { "X-Name": "then", "Content-Length": 4 };

        const answer = await ask(make(), (res) => {
          res.writeHead(203, headers);
          headers["X-Name"] = "now\n";
          res.statusCode = 500;
          res.end("body");
        });

        expect(answer).toMatchObject({ status: 203, body: "body" });
        expect(answer.headers).toMatchObject({ "x-name": "then", "content-length": "4" });
        expect(answer.headers["set-cookie"]).toEqual([sessionCookie]);
        expect(answer.rawHeaders).toContain("X-Name");
      });

      it(`sends it without a cookie, ${kind}`, async () => {
        const exchange = make();
        exchange.cookie = () => undefined;
        const seen: unknown[] = [];

        const { status, headers, body } = await ask(exchange, (res) => {
          res.writeHead(203, { "X-Name": "a", "Set-Cookie": "mine=1" });
          seen.push(res.headersSent, res.statusCode);
          res.write("bo");
          res.end("dy");
        });

        expect(seen).toEqual([true, 203]);
        expect([status, headers["x-name"], headers["set-cookie"], body]).toEqual([
          203,
          "a",
          ["mine=1"],
          "body",
        ]);
      });
    }

    it("adds it to what was set before", async () => {
      const answer = await ask(new TestExchange().needNotWait(), (res) => {
        res.setHeader("X-Before", "1").writeHead(200, { "X-Name": "a" }).end("body");
      });

      expect(answer.headers).toMatchObject({ "x-before": "1", "x-name": "a" });
    });

    it("gives way to the error's answer, which keeps what is no answer's content", async () => {
      const answer = await ask(failing(), (res) => {
        res.writeHead(200, { "Content-Type": "text/csv", "X-Cors": "*" }).end("secret");
      });

      expect(answer).toMatchObject({ status: 503, body: `error answer: ${unavailable.message}` });
      expect(answer.headers).not.toHaveProperty("content-type");
      expect(answer.headers["x-cors"]).toBe("*");
    });

    it("takes the headers that a middleware gives at the last moment", async () => {
      const answer = await ask(new TestExchange().needNotWait(), (res) => {
        const { writeHead } = res;
        res.writeHead = (status: number) => writeHead.call(res, status, { "X-Late": "1" });
        res.end("body");
      });

      expect(answer.headers["x-late"]).toBe("1");
    });
  });

  it("may be held twice, as where one framework is mounted in another", async () => {
    for (const outer of [new TestExchange(), new TestExchange().needNotWait()]) {
      const inner = new TestExchange();
      inner.cookie = () => "inner=1";

      const { headers, body } = await ask(
        inner,
        (res) => {
          res.write("bo");
          res.end("dy");
        },
        {
          before: (res) =>
            holdResponse(res, outer, { answerError: (error) => res.end(`outer: ${error.message}`) }),
        },
      );

      expect([headers["set-cookie"], body]).toEqual([["inner=1", sessionCookie], "body"]);
      expect([outer.ends, inner.ends]).toEqual([1, 1]);
    }
  });

  it("calls what stood there before and what was laid over it once each", async () => {
    const called: string[] = [];
    const noting = (name: string) => (res: http.ServerResponse) => {
      for (const method of ["writeHead", "end"] as const) {
        const inner = res[method] as (...args: unknown[]) => unknown;
        Reflect.set(res, method, function (this: unknown, ...args: unknown[]) {
          called.push(`${name} ${method}`);
          return Reflect.apply(inner, this, args);
        });
      }
    };

    for (const exchange of [new TestExchange(), new TestExchange().needNotWait()]) {
      called.length = 0;
      await ask(
        exchange,
        (res) => {
          noting("over")(res);
          res.end("body");
        },
        { before: noting("under") },
      );

      expect(called).toEqual(["over end", "over writeHead", "under end", "under writeHead"]);
    }
  });

  it("lets 1xx answers and trailers pass", async () => {
    const exchange = new TestExchange().hold();
    const server = http.createServer((_req, res) => {
      holdResponse(res, exchange, { answerError: () => {} });
      res.writeEarlyHints({ link: "</style.css>; rel=preload" });
      res.writeHead(200, { Trailer: "X-Sum" });
      res.write("body");
      res.addTrailers({ "X-Sum": "4" });
      res.end();
    });
    const port = await listen(server);
    const request = http.get({ port, host: "127.0.0.1", agent: false });

    const [hints] = (await once(request, "information")) as [http.InformationEvent];
    exchange.release();
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    await once(response.resume(), "end");

    expect(hints.statusCode).toBe(103);
    expect(response.trailers).toEqual({ "x-sum": "4" });
  });

  it("does not take a pipelined response for sent while it is held", async () => {
    const exchanges = [new TestExchange(), new TestExchange()];
    exchanges[0]!.hold();
    let asked = 0;
    const server = http.createServer((req, res) => {
      holdResponse(res, exchanges[asked++]!.hold(), { answerError: () => {} });
      res.end(req.url);
      if (asked === 2) exchanges[0]!.release();
    });
    const socket = connect(await listen(server), "127.0.0.1");
    let received = "";
    socket.on("data", (data) => {
      received += data.toString();
      // The second response has its socket by now, and its end is still held.
      if (received.endsWith("/first")) setImmediate(() => exchanges[1]!.release());
    });

    socket.write(
      "GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    await once(socket, "close");

    expect(received.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(received.endsWith("/second")).toBe(true);
  });
});

describe("the session cookie", () => {
  const forms: Record<string, (res: http.ServerResponse) => unknown> = {
    "setHeader()": (res) => res.setHeader("Set-Cookie", "mine=1"),
    "an object": (res) => res.writeHead(201, { "Set-Cookie": "mine=1", "X-A": "b" }),
    "an object with a list": (res) =>
      res.writeHead(201, "Made", { "set-cookie": ["mine=1", "other=2"], "X-A": "b" }),
    "a flat list": (res) => res.writeHead(201, ["Set-Cookie", "mine=1", "Set-Cookie", "other=2", "X-A", "b"]),
    "a flat list after setHeader()": (res) =>
      res.setHeader("X-A", "a").writeHead(201, ["Set-Cookie", "mine=1", "X-A", "b"]),
    "a list of pairs": (res) =>
      Reflect.apply(res.writeHead, res, [
        201,
        [
          ["Set-Cookie", "mine=1"],
          ["X-A", "b"],
        ],
      ]),
  };
  for (const [form, set] of Object.entries(forms)) {
    it(`stands beside those that the application gives in ${form}`, async () => {
      const answer = await ask(new TestExchange(), (res) => {
        set(res);
        res.end("body");
      });

      const names = answer.headers["set-cookie"]?.map((cookie) => cookie.split("=")[0]);
      expect(names).toEqual(
        form.includes("two") ? ["mine", "other", "sid"] : expect.arrayContaining(["mine", "sid"]),
      );
      expect(new Set(names).size).toBe(names?.length);
      if (form !== "setHeader()") expect(answer).toMatchObject({ status: 201, headers: { "x-a": "b" } });
    });
  }

  it("is never added to a list that the application keeps", async () => {
    const kept = ["mine=1"];

    await ask(new TestExchange(), (res) => res.setHeader("Set-Cookie", kept).end());
    await ask(new TestExchange(), (res) => res.writeHead(200, { "Set-Cookie": kept }).end());

    expect(kept).toEqual(["mine=1"]);
  });

  it("is no list where it is the only one, as applications' tests look at the header", async () => {
    let header: unknown;

    await ask(new TestExchange(), (res) => {
      res.on("finish", () => {
        header = res.getHeader("Set-Cookie");
      });
      res.end("body");
    });

    expect(header).toBe(sessionCookie);
  });

  it("keeps the status message that writeHead() was given", async () => {
    const answer = await ask(new TestExchange(), (res) => res.writeHead(404, "Nothing Here").end());

    expect([answer.status, answer.message]).toEqual([404, "Nothing Here"]);
  });

  it("keeps its answer out of caches, unless the application says how it may be cached", async () => {
    const { headers } = await ask(new TestExchange(), (res) => res.end());
    const chosen = await ask(new TestExchange(), (res) => res.setHeader("Cache-Control", "private").end());
    const dated = await ask(new TestExchange(), (res) => res.setHeader("Expires", "0").end());
    const without = new TestExchange();
    without.cookie = () => undefined;
    const plain = await ask(without, (res) => res.end());

    expect(headers["cache-control"]).toBe("no-store");
    expect(chosen.headers["cache-control"]).toBe("private");
    expect(dated.headers).not.toHaveProperty("cache-control");
    expect(plain.headers).not.toHaveProperty("cache-control");
  });

  it("is not asked for where the exchange has none", async () => {
    const exchange = new TestExchange();
    exchange.cookie = () => undefined;

    expect((await ask(exchange, (res) => res.end("a"))).headers).not.toHaveProperty("set-cookie");
  });
});

describe("a writer", () => {
  it("is told to wait while the first bytes are held, and to go on afterwards", async () => {
    const exchange = new TestExchange().hold();
    let taken: boolean | undefined;

    const answer = await ask(exchange, async (res) => {
      taken = res.write("a");
      exchange.release();
      await once(res, "drain");
      res.end("b");
    });

    expect(taken).toBe(false);
    expect(answer.body).toBe("ab");
  });

  it("may be an async generator in a pipeline()", async () => {
    const answer = await ask(new TestExchange(), (res) =>
      pipeline(async function* () {
        for (let at = 0; at < 200; at++) yield `${at};`.repeat(500);
      }, res),
    );

    expect(answer.body).toHaveLength(
      Array.from({ length: 200 }, (_, at) => `${at};`.length * 500).reduce((a, b) => a + b),
    );
  });

  it("goes on where a middleware before us leads drain listeners elsewhere", async () => {
    const answer = await ask(
      new TestExchange(),
      (res) => {
        Readable.from(Array.from({ length: 10 }, () => "x".repeat(1000))).pipe(res);
      },
      {
        before(res) {
          // As compression does: its own stream takes the listeners, and never fills up here.
          const on = res.on;
          res.on = (event: string, listener: (...args: never[]) => void) =>
            event === "drain" ? res : Reflect.apply(on, res, [event, listener]);
        },
      },
    );

    expect(answer.body).toHaveLength(10_000);
  });
});

describe("a commit that fails", () => {
  it("lets an error answer of the application stand, without a cookie, and asks for no other", async () => {
    const exchange = failing();

    const answer = await ask(exchange, (res) => {
      res.statusCode = 503;
      res.end("in a moment");
    });

    expect(answer).toMatchObject({ status: 503, body: "in a moment" });
    expect(answer.headers).not.toHaveProperty("set-cookie");
    expect(exchange.ends).toBe(1);
  });

  it("lets the error be answered in place of the handler's answer, without commit and cookie", async () => {
    const exchange = failing();

    const answer = await ask(exchange, (res) => {
      res.writeHead(200, "Fine", {
        "Content-Type": "text/csv",
        ETag: '"1"',
        Location: "/x",
        "Content-Length": 6,
        "X-Cors": "*",
      });
      res.end("secret");
    });

    expect(answer).toMatchObject({
      status: 503,
      message: "Service Unavailable",
      body: `error answer: ${unavailable.message}`,
    });
    expect(Object.keys(answer.headers)).toEqual(
      expect.not.arrayContaining(["content-type", "etag", "location", "set-cookie"]),
    );
    expect(answer.headers["x-cors"]).toBe("*");
    expect([exchange.commits, exchange.ends]).toEqual([1, 1]);
  });

  it("is answered as an error also where the exchange rejects, which it promises not to do", async () => {
    for (const commit of [
      () => Promise.reject(unavailable),
      () => {
        throw unavailable;
      },
    ]) {
      const exchange = new TestExchange();
      exchange.commit = commit;

      const { status } = await ask(exchange, (res) => res.end("secret"));

      expect([status, exchange.ends]).toEqual([503, 1]);
    }
  });

  it("keeps the cookies that stood there before, and drops the handler's", async () => {
    const answer = await ask(failing(), (res) => res.appendHeader("Set-Cookie", "handler=1").end("secret"), {
      before: (res) => res.setHeader("Set-Cookie", ["before=1"]),
    });

    expect(answer.headers["set-cookie"]).toEqual(["before=1"]);
  });

  it("throws away what the handler goes on to send, and tells its callbacks", async () => {
    const written = vi.fn();

    const answer = await ask(failing(), async (res) => {
      res.write("secret", written);
      await once(res, "finish");
      res.write("secret");
      res.end("secret");
    });

    expect(answer).toMatchObject({ status: 503, body: `error answer: ${unavailable.message}` });
    expect(written).toHaveBeenCalledExactlyOnceWith(unavailable);
  });

  it("keeps late calls of the handler from Node, which would end the process", async () => {
    const server = http.createServer((_req, res) => {
      const answerError = () => {
        res.end("sorry");
        res.write("late");
        res.end("later");
      };
      holdResponse(res, failing(), { answerError });
      res.write("secret");
    });
    const response = await fetch(`http://127.0.0.1:${await listen(server)}`);

    expect(await response.text()).toBe("sorry");
  });

  it("stops what was piped into the dropped answer, also where the error's answer is a stream itself", async () => {
    const page = "sorry ".repeat(100_000);
    const server = http.createServer((_req, res) => {
      holdResponse(res, failing(), { answerError: () => Readable.from([page, page]).pipe(res) });
      Readable.from(Array.from({ length: 50 }, () => "secret ".repeat(1000))).pipe(res);
    });
    const response = await fetch(`http://127.0.0.1:${await listen(server)}`);

    expect(await response.text()).toBe(page + page);
  });

  it("goes past middlewares that transform the dropped answer", async () => {
    const server = http.createServer((_req, res) => {
      holdResponse(res, failing(), { answerError: () => res.end("plain") });
      const { write, end } = res;
      res.write = (chunk: unknown) => Reflect.apply(write, res, [String(chunk).toUpperCase()]) as boolean;
      res.end = (chunk: unknown) =>
        Reflect.apply(end, res, [String(chunk).toUpperCase()]) as http.ServerResponse;
      res.end("secret");
    });
    const response = await fetch(`http://127.0.0.1:${await listen(server)}`);

    expect(await response.text()).toBe("plain");
  });

  it("cuts the connection where bytes are out", async () => {
    const exchange = new TestExchange();
    exchange.outcomes = [{ outcome: "stored" }, { outcome: "failed", error: unavailable }];

    const answer = ask(exchange, async (res) => {
      await new Promise<void>((resolve) => res.write("first", () => resolve()));
      res.end("second");
    });

    await expect(answer).rejects.toThrow(/aborted|ECONNRESET/);
    expect(exchange.ends).toBe(1);
  });
});

describe("a client that goes away", () => {
  it("leaves an exchange that ends once, though its handler goes on for longer than it is waited for", async () => {
    const exchange = new TestExchange();
    let response: http.ServerResponse | undefined;
    const server = http.createServer((_req, res) => {
      response = res;
      holdResponse(res, exchange, { answerError: () => {} });
      request.destroy();
    });
    const request = http.get({ port: await listen(server), host: "127.0.0.1" });
    request.on("error", () => {}); // it was we who destroyed it

    await vi.waitFor(() => expect(exchange.ends).toBe(1), 5000);
    const commitsBefore = exchange.commits;
    await new Promise<void>((resolve) => {
      exchange.cookie = () => void resolve();
      response!.end("very late");
    });
    await new Promise((resolve) => setImmediate(resolve));

    expect([commitsBefore, exchange.commits, exchange.ends]).toEqual([0, 1, 1]);
  });

  it("is not waited for where it is gone before the session was opened", async () => {
    const exchange = new TestExchange();
    const server = http.createServer((_req, res) => {
      res.once("close", () => {
        holdResponse(res, exchange, { answerError: () => {} });
      });
      request.destroy();
    });
    const request = http.get({ port: await listen(server), host: "127.0.0.1" });
    request.on("error", () => {}); // it was we who destroyed it

    await vi.waitFor(() => expect([exchange.commits, exchange.ends]).toEqual([0, 1]), 5000);
  });

  it("lets a handler that ends late commit, with nothing thrown", async () => {
    const exchange = new TestExchange();
    const server = http.createServer((_req, res) => {
      holdResponse(res, exchange, { answerError: () => {} });
      res.once("close", () => res.end("late"));
      request.destroy();
    });
    const request = http.get({ port: await listen(server), host: "127.0.0.1" });
    request.on("error", () => {}); // it was we who destroyed it

    await vi.waitFor(() => expect([exchange.commits, exchange.ends]).toEqual([1, 1]), 5000);
  });

  it("of a stream has what came since the last commit saved", async () => {
    const exchange = new TestExchange();
    const server = http.createServer((_req, res) => {
      holdResponse(res, exchange, { answerError: () => {} });
      res.write("data: 1\n\n");
    });
    const request = http.get({ port: await listen(server), host: "127.0.0.1" });
    request.on("error", () => {}); // it was we who destroyed it
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    response.on("error", () => {}); // the same

    request.destroy();

    await vi.waitFor(() => expect([exchange.commits, exchange.ends]).toEqual([2, 1]), 5000);
  });

  it("of a stream leaves an exchange that ends, though its last commit rejects", async () => {
    const exchange = new TestExchange();
    const server = http.createServer((_req, res) => {
      holdResponse(res, exchange, { answerError: () => {} });
      res.write("data: 1\n\n");
    });
    const request = http.get({ port: await listen(server), host: "127.0.0.1" });
    request.on("error", () => {}); // it was we who destroyed it
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    response.on("error", () => {}); // the same
    exchange.commit = () => Promise.reject(unavailable);

    request.destroy();

    await vi.waitFor(() => expect(exchange.ends).toBe(1), 5000);
  });
});

describe("a held response of HTTP/2", () => {
  type Handler2 = (res: http2.Http2ServerResponse) => unknown;

  async function ask2(exchange: TestExchange, handler: Handler2, onHead = () => {}) {
    const server = http2.createServer((_req, res) => {
      holdResponse(res, exchange, { answerError: (error) => res.end(`error answer: ${error.message}`) });
      handler(res);
    });
    const client = http2.connect(`http://127.0.0.1:${await listen(server)}`);
    const stream = client.request({ ":path": "/" });
    let headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    stream.on("response", (received) => {
      headers = received;
      onHead();
    });
    let body = "";
    stream.setEncoding("utf8");
    stream.on("data", (data: string) => {
      body += data;
    });
    try {
      await once(stream, "close");
      return { status: headers[":status"], headers, body, code: stream.rstCode };
    } finally {
      client.close();
    }
  }

  it("ends in one go, with the cookie", async () => {
    const exchange = new TestExchange();

    const answer = await ask2(exchange, (res) => {
      res.setHeader("Set-Cookie", "mine=1");
      res.end("body");
    });

    expect(answer).toMatchObject({ status: 200, body: "body" });
    expect(answer.headers["set-cookie"]).toEqual(["mine=1", sessionCookie]);
    expect([exchange.commits, exchange.ends]).toEqual([1, 1]);
  });

  it("sends its head when it is written, once that is committed", async () => {
    const exchange = new TestExchange();

    const answer = await ask2(exchange, (res) => {
      res.writeHead(201, { "X-A": "b", "Set-Cookie": "mine=1" });
      setImmediate(() => {
        res.write("a");
        res.end("b");
      });
    });

    expect(answer).toMatchObject({ status: 201, body: "ab" });
    expect(answer.headers["set-cookie"]).toEqual(["mine=1", sessionCookie]);
    expect(exchange.ends).toBe(1);
  });

  it("does not keep a written head back until there is a body", async () => {
    let response: http2.Http2ServerResponse | undefined;

    const answer = await ask2(
      new TestExchange(),
      (res) => {
        response = res.writeHead(200);
      },
      () => response?.end("after the head"),
    );

    expect(answer.body).toBe("after the head");
  });

  it("looks sent while it is held", async () => {
    const seen: unknown[] = [];

    await ask2(new TestExchange(), (res) => {
      res.end("body");
      seen.push(res.headersSent, res.writableEnded);
      expect(() => res.setHeader("X-A", "b")).toThrow(
        expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }),
      );
    });

    expect(seen).toEqual([true, true]);
  });

  it("gives way to the error's answer where the commit fails", async () => {
    const answer = await ask2(failing(), (res) => {
      res.setHeader("Content-Type", "text/csv");
      res.end("secret");
    });

    expect(answer).toMatchObject({ status: 503, body: `error answer: ${unavailable.message}` });
    expect(answer.headers).not.toHaveProperty("content-type");
  });

  it("is cut, with an error code, where bytes are out", async () => {
    const exchange = new TestExchange();
    exchange.outcomes = [{ outcome: "stored" }, { outcome: "failed", error: unavailable }];
    const cut = ask2(exchange, (res) => {
      res.write("first", () => res.end("second"));
    });

    await expect(cut).rejects.toThrow("NGHTTP2_INTERNAL_ERROR");
  });
});
