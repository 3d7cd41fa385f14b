import { createHash } from "node:crypto";
import http from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import {
  type CommitOptions,
  type CommitResult,
  createSessionManager,
  MsmError,
  type SessionExchange,
  type SessionManager,
  type SessionRequest,
} from "@msm/core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { pause, waitUntil } from "./wait-until.js";

/**
 * The routes of an application under the contract, each in its framework's own manner. `session` is whatever the
 * framework's handlers see; `n`, `name` and `user` are its attributes.
 */
export const adapterRoutes = {
  "GET /read": "answers {n, name, user} as JSON, null for what is absent; changes nothing",
  "GET /has-session": "answers {hasSession} as JSON: whether there is a session at all",
  "GET /count": "n becomes n + 1, from 0; answers {n} as JSON",
  "GET /name": "name becomes the query's `name`, after given.nextTurn(); answers {name} as JSON",
  "POST /length": "n becomes the number of bytes in the request's body; answers {n} as JSON",
  "GET /throw": "n becomes 7; throws an Error with the message `boom`",
  "GET /own-cookies": "n becomes 1; sets the cookies a=1 and b=2; answers `ok`",
  "GET /redirect": "n becomes n + 1; redirects with 302 to /read",
  "GET /described":
    "n becomes 1; answers `secret` with ETag, Last-Modified, Cache-Control: public and Content-Type: text/csv",
  "GET /stream": "n becomes 1; answers `a`, `b` and given.text, each written for itself",
  "GET /pipe": "n becomes 1; pipes given.largeBody() into the response",
  "GET /events":
    "n becomes 1; text/event-stream; sends `data: 1`, awaits given.gate(), n becomes 2, sends `data: 2`, ends",
  "GET /endless": "n becomes 1; text/event-stream; sends `data: 1`; never ends",
  "GET /big": "n becomes 1; answers given.text in one piece; HEAD likewise",
  "GET /empty": "n becomes 1; answers 204",
  "GET /cached": 'n becomes 1; ETag "v1"; answers 304 where If-None-Match is "v1", else `fresh`',
  "GET /twice": "n becomes 1; answers `once`, and then tries to answer `again`",
  "GET /slow": "calls given.entered(), awaits given.gate(), n becomes 42, answers `late`",
  "GET /never": "calls given.entered(), n becomes 9; never answers",
  "GET /destroy": "ends the session; answers `bye`",
  "GET /locked-count":
    "has the session to itself by the adapter's own means for a route; reads n, awaits given.nextTurn(), n becomes what it read + 1, from 0; answers {n} as JSON",
  "GET /locked-slow":
    "has the session to itself likewise; calls given.entered(), awaits given.gate(), n becomes 42, answers `late`",
  "GET /locked-events":
    "has the session to itself likewise; n becomes 1; text/event-stream; sends `data: 1`, awaits given.gate(), sends `data: 2`, ends",
  "GET /locked-stream":
    "has the session to itself likewise; n becomes 1; sends `a`, awaits given.gate(), n becomes 2, sends `b`, ends",
  "GET /sign-in": "gives the session a new id and no attributes, then user becomes `ann`; answers `hi`",
} as const;

/** What the contract gives to the application that it asks. */
export interface AdapterGiven {
  /** The manager to serve the sessions with. */
  readonly manager: SessionManager;
  /** 100,000 characters. */
  readonly text: string;
  /** 5 MB that differ all along. */
  largeBody(): Readable;
  /** Says that a handler has begun. */
  entered(): void;
  /** Resolves when the contract lets the handler go on. */
  gate(): Promise<void>;
  /** Lets other requests run in between. */
  nextTurn(): Promise<void>;
}

/** A running application; `close()` ends its connections too. */
export interface AdapterUnderTest {
  readonly url: string;
  close(): unknown;
}

export interface AdapterContractOptions {
  /** Routes that the framework cannot have, with the reason. */
  readonly without?: Partial<Record<keyof typeof adapterRoutes, string>>;
}

const text = "0123456789".repeat(10_000);
const slowCommitMs = 60;

/**
 * What users of any framework see of sessions: real requests over HTTP to an application with `adapterRoutes`.
 * Commits can be slowed down and made to fail, otherwise everything is real.
 */
export function adapterContract(
  name: string,
  start: (given: AdapterGiven) => Promise<AdapterUnderTest>,
  options: AdapterContractOptions = {},
): void {
  for (const mode of ["non-sticky", "sticky"] as const) contractIn(mode, name, start, options);
}

function contractIn(
  mode: "sticky" | "non-sticky",
  name: string,
  start: (given: AdapterGiven) => Promise<AdapterUnderTest>,
  { without = {} }: AdapterContractOptions,
): void {
  describe(`adapter contract: ${name}, ${mode}`, () => {
    const sessions = new ObservedManager(mode);
    const handlers = new Handlers();
    let app: AdapterUnderTest;

    beforeAll(async () => {
      const given: AdapterGiven = {
        manager: sessions,
        text,
        largeBody: () => handlers.largeBody(),
        entered: () => handlers.entered(),
        gate: () => handlers.gate(),
        nextTurn: () => new Promise((resolve) => setImmediate(resolve)),
      };
      app = await start(given);
    });
    afterEach(async () => {
      handlers.openGate();
      sessions.beHealthy();
      await waitUntil("every exchange has ended, once", () =>
        sessions.exchanges.every(({ ends }) => ends === 1),
      );
    });
    afterAll(async () => {
      await app.close();
      await sessions.close();
    });

    const client = () => new Client(app.url);
    const itHas = (route: keyof typeof adapterRoutes, title: string, test: () => Promise<void>) => {
      const reason = without[route];
      if (reason === undefined) it(title, test);
      else it.skip(`${title} (${route}: ${reason})`, test);
    };

    describe("a session", () => {
      itHas("GET /read", "is not announced while it stays empty", async () => {
        const answer = await client().get("/read");

        expect(answer.json()).toEqual({ n: null, name: null, user: null });
        expect(answer.cookies).toEqual([]);
      });

      itHas("GET /count", "is found by the client's next request", async () => {
        const visitor = client();

        const counts = [
          await visitor.get("/count"),
          await visitor.get("/count"),
          await visitor.get("/count"),
        ];

        expect(counts.map((answer) => answer.json())).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
        expect(counts.map((answer) => answer.cookies.length)).toEqual([1, 0, 0]);
      });

      itHas("GET /count", "is that of the first of several cookies that verifies", async () => {
        const visitor = client();
        await visitor.get("/count");
        const other = client();
        await other.get("/name?name=bob");

        const answer = await client().with(`sid=forged; ${visitor.cookie}; ${other.cookie}`).get("/count");

        expect(answer.json()).toEqual({ n: 2 });
      });

      itHas(
        "GET /redirect",
        "is saved before a redirect sends its client on, however slow the save",
        async () => {
          sessions.commitDelayMs = slowCommitMs;
          const visitor = client();

          for (const n of [1, 2, 3]) {
            const redirect = await visitor.get("/redirect", { onHead: () => sessions.note("head") });
            const target = await visitor.get(redirect.headers.location ?? "");

            expect(redirect.status).toBe(302);
            expect(target.json()).toMatchObject({ n });
          }
        },
      );

      itHas("GET /count", "is saved before the first byte reaches the client", async () => {
        sessions.commitDelayMs = slowCommitMs;
        sessions.notes.length = 0;

        await client().get("/count", { onHead: () => sessions.note("head") });

        const [first, ...others] = sessions.notes;
        expect(first).toBe("committed");
        // Some adapters commit again before they send: that is no matter, where nothing changed.
        expect(others.filter((note) => note !== "committed")).toEqual(["head"]);
        expect(others.at(-1)).toBe("head");
      });

      itHas("GET /throw", "is saved, and its cookie sent, where the handler throws", async () => {
        const visitor = client();

        const answer = await visitor.get("/throw");

        expect(answer.status).toBe(500);
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 7 });
      });

      itHas("GET /name", "never becomes that of another client", async () => {
        const visitors = Array.from({ length: 8 }, (_, at) => ({ name: `client-${at}`, is: client() }));

        const seen = await Promise.all(
          visitors.map(async ({ name, is }) => {
            const names = [];
            for (let round = 0; round < 5; round++) {
              await is.get(`/name?name=${name}`);
              names.push((await is.get("/read")).json().name);
            }
            return names;
          }),
        );

        expect(seen).toEqual(visitors.map(({ name }) => Array(5).fill(name)));
        expect(new Set(visitors.map(({ is }) => is.cookie)).size).toBe(visitors.length);
      });

      itHas("GET /destroy", "is gone once it is destroyed, with its cookie", async () => {
        const visitor = client();
        await visitor.get("/count");
        const before = visitor.cookie;

        const answer = await visitor.get("/destroy");

        expect(answer.body).toBe("bye");
        expect(answer.cookies).toEqual([expect.stringMatching(/^sid=;.*Max-Age=0/)]);
        expect((await client().with(before).get("/read")).json()).toMatchObject({ n: null });
      });

      itHas(
        "GET /sign-in",
        "has another id after regenerate(), and the old one is worth nothing",
        async () => {
          const visitor = client();
          await visitor.get("/count");
          const before = visitor.cookie;

          await visitor.get("/sign-in");

          expect(visitor.cookie).not.toBe(before);
          expect((await visitor.get("/read")).json()).toMatchObject({ n: null, user: "ann" });
          expect((await client().with(before).get("/read")).json()).toMatchObject({ n: null, user: null });
        },
      );

      itHas("POST /length", "takes nothing from the request's body", async () => {
        const answer = await client().request("POST", "/length", { body: text });

        expect(answer.json()).toEqual({ n: text.length });
      });
    });

    describe("an answer", () => {
      itHas("GET /own-cookies", "has the application's cookies beside the session's", async () => {
        for (const _ of ["first", "second"]) {
          const answer = await client().get("/own-cookies");
          expect(answer.cookies.map((cookie) => cookie.split("=")[0]).sort()).toEqual(["a", "b", "sid"]);
        }
      });

      itHas("GET /count", "that sets the session's cookie is kept out of caches, and no other", async () => {
        const visitor = client();

        const first = await visitor.get("/count");
        const second = await visitor.get("/count");

        expect(first.headers["cache-control"]).toBe("no-store");
        expect(second.headers["cache-control"] ?? "").not.toContain("no-store");
      });

      itHas("GET /described", "is cached as the application says", async () => {
        const answer = await client().get("/described");

        expect(answer.headers["cache-control"]).toMatch(/^public/);
        expect(answer.headers.etag).toBeDefined();
      });

      itHas("GET /big", "in one piece has a Content-Length", async () => {
        const answer = await client().get("/big");

        expect(answer.headers["content-length"]).toBe(String(text.length));
        expect(answer.headers["transfer-encoding"]).toBeUndefined();
        expect(answer.body).toBe(text);
      });

      itHas("GET /big", "to HEAD has the headers and no body", async () => {
        const visitor = client();

        const answer = await visitor.request("HEAD", "/big");

        expect(answer.status).toBe(200);
        expect(answer.headers["content-length"]).toBe(String(text.length));
        expect(answer.body).toBe("");
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 1 });
      });

      itHas("GET /empty", "of 204 has a cookie and no body", async () => {
        const visitor = client();

        const answer = await visitor.get("/empty");

        expect(answer.status).toBe(204);
        expect(answer.headers["content-length"]).toBeUndefined();
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 1 });
      });

      itHas("GET /cached", "of 304 has a cookie and no body", async () => {
        const visitor = client();

        const answer = await visitor.get("/cached", { headers: { "if-none-match": '"v1"' } });

        expect(answer.status).toBe(304);
        expect(answer.body).toBe("");
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 1 });
      });

      itHas("GET /twice", "goes out once, where the handler gives two", async () => {
        sessions.commitDelayMs = slowCommitMs;

        const answer = await client().get("/twice");

        expect(answer.status).toBe(200);
        expect(answer.body).toBe("once");
      });

      itHas("GET /count", "leaves its connection to the next request", async () => {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const visitor = client();

        const ports = [];
        for (let n = 1; n <= 5; n++) {
          const answer = await visitor.get("/count", { agent });
          expect(answer.json()).toEqual({ n });
          ports.push(answer.localPort);
        }

        expect(new Set(ports).size).toBe(1);
        agent.destroy();
      });

      itHas("GET /count", "waits for its turn where requests are pipelined", async () => {
        sessions.commitDelayMs = slowCommitMs;

        const received = await sendRaw(
          app.url,
          `GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /count HTTP/1.1\r\nHost: x\r\n\r\nGET /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
        );

        expect(received.match(/HTTP\/1\.1 200/g)).toHaveLength(3);
        expect(received.indexOf(text)).toBeLessThan(received.indexOf('{"n":1}'));
        expect(received.indexOf('{"n":1}')).toBeLessThan(received.indexOf('"user":null'));
      });
    });

    describe("a route that has the session to itself", () => {
      const stored = async (visitor: Client) => (await visitor.get("/read")).json().n;

      itHas("GET /locked-count", "loses none of many increments at once", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");

        const answers = await Promise.all(
          Array.from({ length: 16 }, () => client().with(visitor.cookie).get("/locked-count")),
        );

        expect(answers.map(({ status }) => status)).toEqual(new Array(16).fill(200));
        expect(answers.map((answer) => answer.json().n).sort((a, b) => Number(a) - Number(b))).toEqual(
          Array.from({ length: 16 }, (_, at) => at + 1),
        );
        expect(await stored(visitor)).toBe(16);
      });

      itHas("GET /locked-slow", "keeps others waiting until it has answered", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        const { slow, others } = await whileSlow(visitor, 1);

        handlers.openGate();

        expect((await slow).body).toBe("late");
        expect((await others[0]!).json()).toEqual({ n: 43 });
      });

      itHas("GET /locked-slow", "refuses those who cannot even wait, with 503 and Retry-After", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        const { slow, others } = await whileSlow(visitor, 32);

        const refused = await client().with(visitor.cookie).get("/locked-count");
        expect([refused.status, refused.headers["retry-after"], refused.cookies]).toEqual([503, "1", []]);

        handlers.openGate();
        await slow;
        const answers = await Promise.all(others);
        expect(answers.map(({ status }) => status)).toEqual(new Array(32).fill(200));
        expect(await stored(visitor)).toBe(42 + 32);
      });

      itHas("GET /locked-slow", "forgets a waiting client that goes away", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        const { slow } = await whileSlow(visitor, 0);
        const leave = new AbortController();
        const left = client().with(visitor.cookie).get("/locked-count", { signal: leave.signal });
        left.catch(() => {});
        await waitUntil("it waits", () => sessions.stats().waitingRequests === 1);

        leave.abort();
        await waitUntil("it is forgotten", () => sessions.stats().waitingRequests === 0);

        handlers.openGate();
        await slow;
        expect(await stored(visitor)).toBe(42);
      });

      itHas("GET /locked-slow", "lets the next one in soon after its client went away", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        await handlers.abortInside(visitor, "/locked-slow");

        expect((await client().with(visitor.cookie).get("/locked-count")).json()).toEqual({ n: 1 });
        handlers.openGate();
      });

      itHas("GET /locked-events", "lets the next one in once a stream of events has begun", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        let next: Promise<Answer> | undefined;
        const stream = client()
          .with(visitor.cookie)
          .get("/locked-events", {
            onData: () => {
              next ??= client().with(visitor.cookie).get("/locked-count");
              void next.then(() => handlers.openGate());
            },
          });

        expect((await stream).body).toBe("data: 1\n\ndata: 2\n\n");
        expect((await next!).json()).toEqual({ n: 2 });
      });

      itHas("GET /locked-stream", "keeps others waiting until another kind of stream has ended", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        let next: Promise<Answer> | undefined;
        const stream = client()
          .with(visitor.cookie)
          .get("/locked-stream", {
            onData: () => {
              next ??= client().with(visitor.cookie).get("/locked-count");
            },
          });
        await waitUntil("the next one waits", () => sessions.stats().waitingRequests === 1);
        handlers.openGate();

        expect((await stream).body).toBe("ab");
        expect((await next!).json()).toEqual({ n: 3 });
      });

      /** A request that has the session, and others that wait for it. */
      async function whileSlow(visitor: Client, waiting: number) {
        const entered = handlers.nextEntry();
        const slow = client().with(visitor.cookie).get("/locked-slow");
        await entered;
        const others = Array.from({ length: waiting }, () =>
          client().with(visitor.cookie).get("/locked-count"),
        );
        await waitUntil("the others wait", () => sessions.stats().waitingRequests === waiting);
        return { slow, others };
      }
    });

    describe("a stream", () => {
      itHas("GET /stream", "arrives as it was written, with the cookie", async () => {
        sessions.commitDelayMs = slowCommitMs;
        const visitor = client();

        const answer = await visitor.get("/stream");

        expect(answer.body).toBe(`ab${text}`);
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 1 });
      });

      itHas(
        "GET /pipe",
        "of 5 MB arrives whole, and its source waits while the session is saved",
        async () => {
          sessions.commitDelayMs = slowCommitMs;
          sessions.onCommitted = () => handlers.notePulled();
          const visitor = client();

          const answer = await visitor.get("/pipe");

          expect(answer.digest).toBe(largeDigest);
          expect(handlers.pulledWhenCommitted).toBeLessThan(1_000_000);
          expect((await visitor.get("/read")).json()).toMatchObject({ n: 1 });
        },
      );

      itHas(
        "GET /events",
        "of events begins once the session is saved, and saves at its end what came later",
        async () => {
          const visitor = client();

          const answer = visitor.get("/events", {
            onData: (soFar) => soFar.includes("data: 1") && handlers.openGate(),
          });
          const { body, headers } = await answer;

          expect(headers["content-type"]).toMatch("text/event-stream");
          expect(body).toBe("data: 1\n\ndata: 2\n\n");
          expect((await visitor.get("/read")).json()).toMatchObject({ n: 2 });
        },
      );

      itHas("GET /endless", "that its client leaves is let go of", async () => {
        const visitor = client();
        await visitor.get("/name?name=ann");
        const leave = new AbortController();

        const answer = visitor.get("/endless", { signal: leave.signal, onData: () => leave.abort() });

        await expect(answer).rejects.toThrow();
        await waitUntil("the stream's exchange has ended", () => sessions.exchanges.at(-1)?.ends === 1);
        expect((await visitor.get("/read")).json()).toMatchObject({ n: 1, name: "ann" });
      });
    });

    describe("a client that goes away", () => {
      itHas("GET /slow", "does not undo what its handler goes on to do", async () => {
        const visitor = client();
        await visitor.get("/count");

        await handlers.abortInside(visitor, "/slow");
        handlers.openGate();

        await waitUntil(
          "the handler's change is saved",
          async () => (await visitor.get("/read")).json().n === 42,
        );
      });

      itHas("GET /never", "frees its session, though its handler never answers", async () => {
        const visitor = client();
        await visitor.get("/count");

        await handlers.abortInside(visitor, "/never");
        const abandoned = sessions.exchanges.at(-1);

        await waitUntil("the exchange has ended", () => abandoned?.ends === 1);
        expect((await visitor.get("/count")).status).toBe(200);
      });
    });

    describe("a session that cannot be saved", () => {
      for (const [code, status] of [
        ["MSM_ERR_STORAGE_UNAVAILABLE", 503],
        ["MSM_ERR_CONFLICT", 409],
      ] as const) {
        itHas("GET /count", `fails its request with ${status} for ${code}, without a cookie`, async () => {
          const visitor = client();
          sessions.failCommits(code);

          const answer = await visitor.get("/count");

          expect(answer.status).toBe(status);
          expect(answer.body).not.toContain('{"n":1}');
          expect(answer.cookies).toEqual([]);
          sessions.beHealthy();
          expect((await visitor.get("/count")).json()).toEqual({ n: 1 });
        });
      }

      itHas("GET /described", "leaves nothing of the handler's answer", async () => {
        sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");

        const answer = await client().get("/described");

        expect(answer.status).toBe(503);
        expect(answer.body).not.toContain("secret");
        expect(answer.headers["content-type"]).not.toMatch("csv");
        expect(answer.headers).not.toHaveProperty("etag");
        expect(answer.headers).not.toHaveProperty("last-modified");
        expect(answer.headers["cache-control"] ?? "").not.toContain("public");
      });

      itHas("GET /own-cookies", "leaves no cookie of the handler's answer", async () => {
        sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");

        const answer = await client().get("/own-cookies");

        expect(answer.status).toBe(503);
        expect(answer.cookies).toEqual([]);
      });

      itHas("GET /redirect", "sends nobody elsewhere", async () => {
        sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");

        const answer = await client().get("/redirect");

        expect(answer.status).toBe(503);
        expect(answer.headers).not.toHaveProperty("location");
      });

      for (const route of ["/stream", "/pipe", "/big", "/empty"] as const) {
        itHas(`GET ${route}`, `fails its request also where the answer is that of ${route}`, async () => {
          sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");

          const answer = await client().get(route);

          expect(answer.status).toBe(503);
          expect(answer.body.length).toBeLessThan(5_000);
          expect(answer.body).not.toContain("0123456789");
        });
      }

      itHas("GET /count", "does not spoil its connection", async () => {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const visitor = client();
        sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");
        const failed = await visitor.get("/count", { agent });
        sessions.beHealthy();

        const next = await visitor.get("/count", { agent });

        expect(failed.status).toBe(503);
        expect(next.json()).toEqual({ n: 1 });
        agent.destroy();
      });

      itHas("GET /events", "cuts the connection where bytes are out already", async () => {
        const answer = client().get("/events", {
          onData() {
            sessions.failCommits("MSM_ERR_STORAGE_UNAVAILABLE");
            handlers.openGate();
          },
        });

        await expect(answer).rejects.toThrow(/aborted|socket hang up|ECONNRESET/);
      });
    });

    describe("a session that cannot be read", () => {
      itHas("GET /count", "fails its request with 503", async () => {
        const visitor = client();
        await visitor.get("/count");
        sessions.failOpens();

        const answer = await visitor.get("/count");

        expect(answer.status).toBe(503);
        expect(answer.cookies).toEqual([]);
        sessions.beHealthy();
        expect((await visitor.get("/count")).json()).toEqual({ n: 2 });
      });

      itHas(
        "GET /has-session",
        "is undefined for the handler, where the manager goes on without it",
        async () => {
          const visitor = client();
          sessions.openWithoutSession();

          const answer = await visitor.get("/has-session");

          expect(answer.json()).toEqual({ hasSession: false });
          expect(answer.cookies).toEqual([]);
          sessions.beHealthy();
          expect((await visitor.get("/has-session")).json()).toEqual({ hasSession: true });
        },
      );
    });
  });
}

/** A real manager whose commits can be slow or fail, and which notes what happens to its exchanges. */
class ObservedManager implements SessionManager {
  readonly exchanges: { ends: number }[] = [];
  /** "committed", and what tests add, in the order in which it happened. */
  readonly notes: string[] = [];
  commitDelayMs = 0;
  onCommitted: () => void = () => {};
  readonly #manager: SessionManager;
  #commitError: MsmError | undefined;
  #opens: "really" | "rejecting" | "without session" = "really";

  constructor(mode: "sticky" | "non-sticky") {
    const secret = "the adapter contract's own secret, 32 bytes and more";
    this.#manager = createSessionManager(
      // So long that no load of the machine lets a request give up waiting.
      {
        secret,
        lockTimeoutMs: 60_000,
        maxLeaseMs: 60_000,
        ...(mode === "sticky" ? { mode, route: "app1" } : { mode }),
      },
    );
  }

  async open(request: SessionRequest): Promise<SessionExchange> {
    if (this.#opens === "rejecting")
      throw new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "a fault of the contract");

    const exchange = await this.#manager.open(request);
    const observed = { ends: 0 };
    this.exchanges.push(observed);
    return {
      session: this.#opens === "without session" ? undefined : exchange.session,
      cookie: (options) => exchange.cookie(options),
      commit: (options) => this.#commit(exchange, options),
      end: () => {
        observed.ends++;
        return exchange.end();
      },
    };
  }

  async #commit(exchange: SessionExchange, options?: CommitOptions): Promise<CommitResult> {
    if (this.commitDelayMs > 0) await pause(this.commitDelayMs);
    if (this.#commitError !== undefined) return { outcome: "failed", error: this.#commitError };
    const result = await exchange.commit(options);
    this.note("committed");
    this.onCommitted();
    return result;
  }

  note(what: string): void {
    this.notes.push(what);
  }

  failCommits(code: "MSM_ERR_STORAGE_UNAVAILABLE" | "MSM_ERR_CONFLICT"): void {
    this.#commitError = new MsmError(code, "a fault of the contract");
  }

  failOpens(): void {
    this.#opens = "rejecting";
  }

  openWithoutSession(): void {
    this.#opens = "without session";
  }

  beHealthy(): void {
    this.commitDelayMs = 0;
    this.onCommitted = () => {};
    this.#commitError = undefined;
    this.#opens = "really";
  }

  get cookie() {
    return this.#manager.cookie;
  }

  get tokens() {
    return this.#manager.tokens;
  }

  on: SessionManager["on"] = (event, listener) => this.#manager.on(event, listener);
  stats = () => this.#manager.stats();
  health = () => this.#manager.health();
  withSession: SessionManager["withSession"] = (...args) => this.#manager.withSession(...args);
  reconfigure: SessionManager["reconfigure"] = (changes) => this.#manager.reconfigure(changes);
  close: SessionManager["close"] = (options) => this.#manager.close(options);
}

const largeChunk = 16_384;
const largeChunks = 320;
const chunkAt = (at: number) => Buffer.alloc(largeChunk, `${at};`);
const largeDigest = digestOf(Array.from({ length: largeChunks }, (_, at) => chunkAt(at)));

function digestOf(chunks: readonly Buffer[]): string {
  const hash = createHash("sha256");
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

/** What the contract and the handlers tell each other. */
class Handlers {
  pulledWhenCommitted = Number.POSITIVE_INFINITY;
  #pulled = 0;
  #gates: (() => void)[] = [];
  #onEntered: () => void = () => {};

  largeBody(): Readable {
    this.#pulled = 0;
    this.pulledWhenCommitted = Number.POSITIVE_INFINITY;
    return Readable.from(this.#largeChunks(), { objectMode: false });
  }

  async *#largeChunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < largeChunks; at++) {
      this.#pulled += largeChunk;
      yield chunkAt(at);
    }
  }

  notePulled(): void {
    if (this.pulledWhenCommitted === Number.POSITIVE_INFINITY) this.pulledWhenCommitted = this.#pulled;
  }

  entered(): void {
    this.#onEntered();
  }

  gate(): Promise<void> {
    return new Promise((resolve) => this.#gates.push(resolve));
  }

  openGate(): void {
    for (const open of this.#gates.splice(0)) open();
  }

  /** Resolves when the next handler says that it has begun. */
  nextEntry(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEntered = () => {
        this.#onEntered = () => {};
        resolve();
      };
    });
  }

  /** Sends a request, and goes away while its handler is at work. */
  async abortInside(visitor: Client, path: string): Promise<void> {
    const leave = new AbortController();
    this.#onEntered = () => leave.abort();
    await expect(visitor.get(path, { signal: leave.signal })).rejects.toThrow();
    this.#onEntered = () => {};
  }
}

interface RequestOptions {
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string;
  readonly agent?: http.Agent;
  readonly signal?: AbortSignal;
  readonly onHead?: () => void;
  readonly onData?: (soFar: string) => void;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** The Set-Cookie headers. */
  readonly cookies: readonly string[];
  readonly body: string;
  /** SHA-256 of the body. */
  readonly digest: string;
  readonly localPort: number | undefined;
  json(): Record<string, unknown>;
}

/** A client that keeps the session's cookie, and follows no redirect. */
class Client {
  cookie: string | undefined;
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  with(cookie: string | undefined): this {
    this.cookie = cookie;
    return this;
  }

  get(path: string, options: RequestOptions = {}): Promise<Answer> {
    return this.request("GET", path, options);
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const answer = await exchange(new URL(path, this.#url), method, {
      ...options,
      headers: { ...options.headers, ...(this.cookie === undefined ? {} : { cookie: this.cookie }) },
    });
    for (const cookie of answer.cookies) {
      if (cookie.startsWith("sid=;")) this.cookie = undefined;
      else if (cookie.startsWith("sid=")) this.cookie = cookie.split(";")[0];
    }
    return answer;
  }
}

function exchange(url: URL, method: string, options: RequestOptions): Promise<Answer> {
  const { headers = {}, agent = false, signal, body, onHead, onData } = options;
  return new Promise((resolve, reject) => {
    const request = http.request(url, {
      method,
      headers,
      agent,
      ...(signal === undefined ? {} : { signal }),
    });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      const localPort = response.socket.localPort;
      onHead?.();
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        onData?.(Buffer.concat(chunks).toString());
      });
      response.on("error", reject);
      response.on("end", () => {
        const received = Buffer.concat(chunks).toString();
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          cookies: response.headers["set-cookie"] ?? [],
          body: received,
          digest: digestOf(chunks),
          localPort,
          json: () => JSON.parse(received) as Record<string, unknown>,
        });
      });
    });
    request.end(body);
  });
}

/** Sends bytes as they are. @returns all that comes back until the server closes the connection */
function sendRaw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setEncoding("latin1");
    socket.on("data", (data) => {
      received += data.toString();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(received));
  });
}
