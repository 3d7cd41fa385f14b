import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { inspect } from "node:util";
import {
  findProgram,
  freshKey,
  freshToken,
  memcachedCommand,
  needsProgram,
  type ServerCommand,
  startServer,
  storageContract,
  storageFaults,
  type TestServer,
  testClient,
  testRecord,
  versionDigits,
} from "@msm/conformance";
import { createSessionManager, type MemcachedServerOptions, memcachedStorage, type Storage } from "@msm/core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Certificates, makeCertificates } from "./certificates.js";

const minuteMs = 60_000;
const operationTimeoutMs = 5000;

const { skip, reason } = needsProgram("memcached");

/** Whether memcached was built with what is wanted, which its help tells; where not, as `needsProgram()`. */
function needsOption(option: string): { readonly skip: boolean; readonly reason: string } {
  const memcached = findProgram("memcached");
  if (!memcached) return { skip, reason };
  const isMissing = !execFileSync(memcached, ["--help"], { encoding: "utf8" }).includes(option);
  return {
    skip: isMissing && !process.env.CI,
    reason: isMissing ? ` (skipped: this memcached has no ${option})` : "",
  };
}

/** Skips where one of them has to be skipped. */
function allOf(...needs: readonly { readonly skip: boolean; readonly reason: string }[]) {
  return { skip: needs.some((need) => need.skip), reason: needs.map((need) => need.reason).join("") };
}

const start = async (command: ServerCommand) => {
  const server = await startServer(command);
  onTestFinished(() => server.close());
  return server;
};

const client = (port: number, options: MemcachedServerOptions, host = "127.0.0.1"): Storage => {
  const storage = memcachedStorage({ host, port, operationTimeoutMs, ...options });
  onTestFinished(() => storage.close());
  return storage;
};

/** Saves a record, loads it with its lease, and gives that back. */
async function exchange(storage: Storage): Promise<void> {
  const key = freshKey();
  const lease = { token: freshToken(), ttlMs: minuteMs };
  await storage.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
  const loaded = await storage.load(key, { lease });
  if (loaded.kind !== "found") throw new Error(`expected found, got ${loaded.kind}`);
  const next = testRecord({ version: 2 });
  const saved = await storage.save(key, next, minuteMs, { expect: loaded.revision, unlock: lease.token });
  expect(saved).toMatchObject({ kind: "stored", revision: { version: versionDigits(2) } });
  expect(await storage.unlock(key, lease.token)).toBe(false);
  await storage.ping();
}

const withTls = allOf(needsProgram("openssl"), needsOption("--enable-ssl"));

describe(`memcached with TLS${withTls.reason}`, () => {
  let certificates: Certificates;

  beforeAll(() => {
    if (!withTls.skip) certificates = makeCertificates();
  });
  afterAll(() => certificates?.remove());

  const tlsCommand =
    (...settings: string[]): ServerCommand =>
    (port) =>
      memcachedCommand(
        "-Z",
        "-o",
        [
          `ssl_chain_cert=${certificates.server.certPath}`,
          `ssl_key=${certificates.server.keyPath}`,
          ...settings,
        ].join(","),
      )(port);
  const trusting = () => ({ tls: { ca: certificates.authority.cert } });

  storageContract(
    `memcached with TLS${withTls.reason}`,
    async () => {
      const server = await startServer(tlsCommand());
      const create = () =>
        memcachedStorage({ host: server.host, port: server.port, operationTimeoutMs, ...trusting() });
      const [storage, other] = [create(), create()];
      return {
        storage,
        other,
        async close() {
          await Promise.all([storage.close(), other.close()]);
          await server.close();
        },
      };
    },
    // Time passes in memcached, behind TLS.
    { skip: withTls.skip, timesToLive: false },
  );

  storageFaults(`memcached with TLS${withTls.reason}`, {
    skip: withTls.skip,
    startServer: () => startServer(tlsCommand()),
    createStorage: (address) => memcachedStorage({ ...address, ...trusting() }),
  });

  describe.skipIf(withTls.skip)("as its options say", () => {
    it("takes a server by its name, by its address, or by another name that it is told", async () => {
      const { port } = await start(tlsCommand());
      const { tls } = trusting();

      await exchange(client(port, { tls }));
      await exchange(client(port, { tls }, "localhost"));
      await exchange(client(port, { tls: { ...tls, servername: "localhost" } }));
    });

    it.each<[string, () => MemcachedServerOptions, RegExp]>([
      ["of an authority that it does not know", () => ({ tls: true }), /unable to verify|self.signed/i],
      [
        "for another name",
        () => ({ tls: { ...trusting().tls, servername: "elsewhere" } }),
        /altnames|does not match/i,
      ],
    ])("refuses a certificate %s", async (_what, options, message) => {
      const { port } = await start(tlsCommand());

      await expect(client(port, options()).load(freshKey())).rejects.toMatchObject({
        code: "MSM_ERR_STORAGE_UNAVAILABLE",
        message: expect.stringMatching(message),
      });
    });

    it("takes any certificate where it is told to", async () => {
      const { port } = await start(tlsCommand());

      await exchange(client(port, { tls: { rejectUnauthorized: false } }));
    });

    it("shows its own certificate to a server that wants one", async () => {
      const { port } = await start(
        tlsCommand("ssl_verify_mode=2", `ssl_ca_cert=${certificates.authority.certPath}`),
      );
      const { cert, key } = certificates.client;

      await exchange(client(port, { tls: { ...trusting().tls, cert, key } }));

      const without = client(port, trusting());
      await expect(without.load(freshKey())).rejects.toMatchObject({
        code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
      });
    });

    it("sends nothing to a server that it does not trust, and no password", async () => {
      const received: Buffer[] = [];
      const { cert, key } = certificates.server;
      const impostor = createTlsServer({ cert, key }, (socket) => {
        socket.on("error", () => socket.destroy());
        socket.on("data", (bytes) => received.push(bytes));
      }).listen(0, "127.0.0.1");
      await once(impostor, "listening");
      onTestFinished(() => void impostor.close());
      const address = impostor.address();
      if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
      const storage = client(address.port, { tls: true, username: "ada", password: "secret" });
      const isOver = once(impostor, "secureConnection").then(([socket]) => once(socket, "close"));

      await expect(
        storage.save(freshKey(), testRecord(), minuteMs, { expect: "absent" }),
      ).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_UNAVAILABLE" });
      await Promise.race([isOver, once(impostor, "tlsClientError")]);

      expect(Buffer.concat(received).toString()).toBe("");
    });

    it("keeps the sessions of nodes that are given by an address and a certificate", async () => {
      const [first, second] = [await start(tlsCommand()), await start(tlsCommand())];
      const memcached = trusting();
      const manager = createSessionManager({
        secret: "a secret of a test, of more than 32 bytes",
        operationTimeoutMs,
        nodes: [
          { id: "a", url: `memcacheds://localhost:${first.port}`, memcached },
          { id: "b", url: `127.0.0.1:${second.port}`, memcached: { ...memcached, protocol: "meta" } },
        ],
      });
      onTestFinished(() => manager.close());
      const browser = testClient();

      await browser.visit(manager, (attributes) => {
        attributes.user = "ada";
      });
      await first.kill();
      const { session } = await browser.visit(manager);

      expect(session?.attributes.user).toBe("ada");
    });

    it("says that a server speaks no TLS", async () => {
      const { port } = await start(memcachedCommand());

      await expect(client(port, trusting()).load(freshKey())).rejects.toMatchObject({
        code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
      });
    });
  });
});

const withAuthFile = allOf({ skip, reason }, needsOption("--auth-file"));

describe.skipIf(withAuthFile.skip)(`memcached with -Y${withAuthFile.reason}`, () => {
  let folder: string;
  let server: TestServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "msm-auth-"));
    await writeFile(join(folder, "users"), "ada:s3cret\nbob:other\n");
    server = await startServer(memcachedCommand("-Y", join(folder, "users")));
  });
  afterAll(async () => {
    await server?.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it("takes who knows the password", async () => {
    await exchange(client(server.port, { protocol: "meta", username: "ada", password: "s3cret" }));
  });

  it.each([
    [
      "with a wrong password",
      { username: "ada", password: "wr0ng" },
      "refuses the user name or the password",
    ],
    [
      "with another's password",
      { username: "bob", password: "s3cret" },
      "refuses the user name or the password",
    ],
    ["without one", {}, "wants a user name and a password"],
  ])("lets nobody in %s, and no message says it", async (_what, credentials, message) => {
    const storage = client(server.port, { protocol: "meta", ...credentials });

    for (const run of [() => storage.load(freshKey()), () => storage.ping()]) {
      const error = await run().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({
        code: "MSM_ERR_STORAGE_UNAVAILABLE",
        message: expect.stringContaining(message),
      });
      expect(inspect(error, { depth: 5 })).not.toMatch(/s3cret|wr0ng/);
    }
  });

  it("leaves no password in a memcached that wants none", async () => {
    const open = await start(memcachedCommand());

    await exchange(client(open.port, { protocol: "meta", username: "ada", password: "s3cret" }));

    const socket = connect(open.port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("get msm\r\n");
    const [answer] = await once(socket, "data");
    expect(String(answer)).toBe("END\r\n");
  });
});

describe.skipIf(skip)(`memcached that speaks one protocol only${reason}`, () => {
  it("is used through the meta protocol where the binary one is switched off", async () => {
    const { port } = await start(memcachedCommand("-B", "ascii"));

    await exchange(client(port, { protocol: "meta" }));
    await expect(client(port, { protocol: "binary" }).load(freshKey())).rejects.toMatchObject({
      code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
    });
  });

  it("is used through the binary protocol where the other one is switched off", async () => {
    const { port } = await start(memcachedCommand("-B", "binary"));

    await exchange(client(port, { protocol: "binary" }));
    await expect(client(port, { protocol: "meta" }).load(freshKey())).rejects.toMatchObject({
      code: expect.stringMatching(/^MSM_ERR_STORAGE_/),
    });
  });
});

describe.skipIf(skip)(`memcached in both protocols at once${reason}`, () => {
  it("keeps versions and leases apart for all who use it", async () => {
    const { port } = await start(memcachedCommand());
    const [binary, meta] = [client(port, { protocol: "binary" }), client(port, { protocol: "meta" })];

    for (const [one, other] of [
      [binary, meta],
      [meta, binary],
    ] as const) {
      const key = freshKey();
      const [mine, theirs] = [freshToken(), freshToken()].map((token) => ({ token, ttlMs: minuteMs })) as [
        { token: string; ttlMs: number },
        { token: string; ttlMs: number },
      ];
      await one.save(key, testRecord({ version: 1 }), minuteMs, { expect: "absent" });
      const loaded = await other.load(key, { lease: mine });
      if (loaded.kind !== "found") throw new Error(`expected found, got ${loaded.kind}`);
      expect(await one.load(key, { lease: theirs })).toMatchObject({ kind: "locked" });

      const next = testRecord({ version: 2 });
      const atFirst = { expect: { version: versionDigits(1) } };
      expect((await one.save(key, next, minuteMs, atFirst)).kind).toBe("stored");
      const late = await other.save(key, testRecord({ version: 2 }), minuteMs, { expect: loaded.revision });

      expect(late).toEqual({ kind: "conflict" });
      expect(await one.unlock(key, theirs.token)).toBe(false);
      expect(await other.unlock(key, mine.token)).toBe(true);
      expect(Buffer.from(await recordOf(one, key))).toEqual(next);
    }
  });
});

async function recordOf(storage: Storage, key: string): Promise<Uint8Array> {
  const loaded = await storage.load(key);
  if (loaded.kind !== "found") throw new Error(`expected found, got ${loaded.kind}`);
  return loaded.record;
}

/** A file of user names and passwords as Cyrus SASL keeps them; only Perl and SASL's own tools can write that format. */
const withSasl = allOf(
  { skip, reason },
  needsOption("--enable-sasl"),
  needsSasl(),
  needsPerlModule("DB_File"),
);

describe.skipIf(withSasl.skip)(`memcached with SASL${withSasl.reason}`, () => {
  let folder: string;
  let server: TestServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "msm-sasl-"));
    const users = join(folder, "users");
    const write =
      'tie %users, "DB_File", $ARGV[0], O_CREAT|O_RDWR, 0600, $DB_HASH or die; $users{"ada\\0msm\\0userPassword"} = "s3cret";';
    execFileSync("perl", ["-MDB_File", "-e", write, users]);
    await writeFile(
      join(folder, "memcached.conf"),
      [
        "mech_list: plain",
        "pwcheck_method: auxprop",
        "auxprop_plugin: sasldb",
        `sasldb_path: ${users}`,
        "",
      ].join("\n"),
    );
    server = await startServer((port) => [
      "env",
      `SASL_CONF_PATH=${folder}`,
      ...memcachedCommand("-S")(port),
    ]);
  });
  afterAll(async () => {
    await server?.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  it("takes who knows the password", async () => {
    await exchange(client(server.port, { username: "ada@msm", password: "s3cret" }));
  });

  it.each([
    ["with a wrong password", { username: "ada@msm", password: "wr0ng" }, "refuses the user name"],
    ["without one", {}, "wants a user name and a password"],
  ])("lets nobody in %s, and no message says it", async (_what, credentials, message) => {
    const error = await client(server.port, credentials)
      .load(freshKey())
      .catch((thrown: unknown) => thrown);

    expect(error).toMatchObject({
      code: "MSM_ERR_STORAGE_UNAVAILABLE",
      message: expect.stringContaining(message),
    });
    expect(inspect(error, { depth: 5 })).not.toMatch(/s3cret|wr0ng/);
  });
});

/** Debian keeps SASL's mechanisms in a package of their own, which memcached only recommends. */
function needsSasl(): { readonly skip: boolean; readonly reason: string } {
  const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib", ...subfolders("/usr/lib")];
  const isThere = folders.some((folder) =>
    namesIn(join(folder, "sasl2")).some((name) => /^libplain\.so/.test(name)),
  );
  return {
    skip: !isThere && !process.env.CI,
    reason: isThere ? "" : " (skipped: SASL has no PLAIN on this machine)",
  };
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function subfolders(folder: string): string[] {
  return namesIn(folder).map((name) => join(folder, name));
}

function needsPerlModule(name: string): { readonly skip: boolean; readonly reason: string } {
  try {
    execFileSync("perl", [`-M${name}`, "-e", "1"], { stdio: "ignore" });
    return { skip: false, reason: "" };
  } catch {
    return { skip: true, reason: ` (skipped: there is no perl with ${name} on this machine)` };
  }
}
