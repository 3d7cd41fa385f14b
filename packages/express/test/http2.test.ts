import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { createSessionManager, MsmError, memoryStorage, type SessionManager } from "@msm/core";
import { session, type WithSession } from "@msm/express";
import { afterEach, expect, it } from "vitest";

const secret = "only for the tests over HTTP/2, 32 bytes and more";

const closings: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closings.splice(0).reverse()) await close();
});

type Handler = (
  req: WithSession<http2.Http2ServerRequest>,
  res: http2.Http2ServerResponse,
) => void | Promise<void>;

/** Serves over HTTP/2, and gives a client that keeps its cookie. */
async function serve(manager: SessionManager, handler: Handler) {
  const sessions = session({ manager });
  const server = http2.createServer((req, res) =>
    sessions(req, res, (error) => {
      if (!error) return void handler(req as WithSession<http2.Http2ServerRequest>, res);
      const { status, code } = error as MsmError;
      res.writeHead(status).end(code);
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  closings.push(
    () => manager.close(),
    () => new Promise((resolve) => server.close(resolve)),
    () => client.destroy(),
  );

  let cookie: string | undefined;
  return async (path: string, onHead = () => {}) => {
    const stream = client.request({ ":path": path, ...(cookie === undefined ? {} : { cookie }) });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    onHead();
    let text = "";
    for await (const chunk of stream.setEncoding("utf8")) text += chunk;
    const [set] = headers["set-cookie"] ?? [];
    if (set !== undefined) cookie = set.includes("Max-Age=0") ? undefined : set.split(";")[0]!;
    return { status: headers[":status"], text, set };
  };
}

const count: Handler = (req, res) => {
  req.session.n = (req.session.n ?? 0) + 1;
  res.end(String(req.session.n));
};

it("serves sessions over HTTP/2: found again, under another id, and ended", async () => {
  const ask = await serve(createSessionManager({ secret }), async (req, res) => {
    if (req.url === "/count") return count(req, res);
    if (req.url === "/read") return void res.end(String(req.session.n));
    if (req.url === "/sign-in") {
      await req.session.regenerate({ keep: true });
      return void res.end(req.sessionID);
    }
    req.session.destroy(() => res.writeHead(204).end());
  });

  expect(await ask("/count")).toMatchObject({ text: "1", set: expect.stringMatching(/^sid=/) });
  expect(await ask("/count")).toMatchObject({ text: "2", set: undefined });
  const { text: id, set } = await ask("/sign-in");
  expect(set).toContain(id);
  expect((await ask("/read")).text).toBe("2");
  expect(await ask("/destroy")).toMatchObject({
    status: 204,
    set: expect.stringMatching(/^sid=; Max-Age=0/),
  });
  expect((await ask("/read")).text).toBe("undefined");
});

it("saves before the head goes out, also of a stream", async () => {
  const storage = memoryStorage();
  const notes: string[] = [];
  const save = storage.save.bind(storage);
  storage.save = async (...args) => {
    await new Promise((resolve) => setImmediate(resolve));
    // What processes tell each other is saved at any time.
    if (!args[0].includes("notices")) notes.push("saved");
    return save(...args);
  };
  const manager = createSessionManager({ secret, nodes: [{ storage }] });
  const ask = await serve(manager, (req, res) => {
    req.session.n = 1;
    res.writeHead(200);
    res.write("a");
    res.end("b");
  });

  expect((await ask("/", () => notes.push("head"))).text).toBe("ab");
  expect(notes).toEqual(["saved", "head"]);
});

it("does not answer as if it had worked where the session cannot be saved", async () => {
  const storage = memoryStorage();
  storage.save = () => Promise.reject(new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "a test's fault"));
  const manager = createSessionManager({ secret, nodes: [{ storage }] });
  const ask = await serve(manager, count);

  expect(await ask("/")).toEqual({ status: 503, text: "MSM_ERR_STORAGE_UNAVAILABLE", set: undefined });
});
