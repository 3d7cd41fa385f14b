import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  findProgram,
  freePort,
  freshKey,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startServer,
  storageContract,
  type TestServer,
  testRecord,
  waitUntil,
} from "@msm/conformance";
import { type RedisServerOptions, redisStorage } from "@msm/core";
import { Redis, type RedisOptions } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Certificates, makeCertificates } from "../certificates.js";
import { documentedAcl, documentedNodes, keepsSessions } from "./deployments.js";
import { needsRedisWithTls } from "./programs.js";

const { skip, reason } = needsProgram("redis-server");
const minuteMs = 60_000;
const operationTimeoutMs = 5000;
const unavailable = { code: "MSM_ERR_STORAGE_UNAVAILABLE" };

const userRule = documentedAcl().user;

const admin = (server: TestServer, options: Pick<RedisOptions, "password" | "tls"> = {}) => {
  const redis = new Redis(server.port, server.host, options);
  onTestFinished(() => redis.disconnect());
  return redis;
};

describe.skipIf(skip)(`a user of Redis${reason}`, () => {
  let server: TestServer;
  let used: Promise<ReadonlySet<string>>;

  storageContract(
    "redis, as the documented user",
    async () => {
      server = await startServer(redisCommand());
      const redis = new Redis(server.port, server.host);
      await redis.call("ACL", "SETUSER", "msm", ...userRule);
      await redis.call("ACL", "SETUSER", "default", "off", ">admin");
      const url = `redis://msm:secret@127.0.0.1:${server.port}`;
      const [storage, other] = [
        redisStorage({ url, operationTimeoutMs }),
        redisStorage({ url, operationTimeoutMs }),
      ];
      // As requests of a session do; the contract does so with times to live, which are left out here.
      const key = freshKey();
      await storage.putIfNewer(key, testRecord(), minuteMs);
      for (let loads = 0; loads < 2; loads++) await storage.load(key, { renewTtlMs: minuteMs });
      return {
        storage,
        other,
        async close() {
          await Promise.all([storage.close(), other.close()]);
          used = commandsUsed(redis);
          await used.finally(() => redis.disconnect());
          await server.close();
        },
      };
    },
    { skip, onRelease: true, timesToLive: false },
  );

  it("needs each of the commands that it is documented to need", async () => {
    const allowed = userRule.filter((part) => part.startsWith("+")).map((part) => part.slice(1));

    expect([...(await used)]).toEqual(expect.arrayContaining(allowed));
  });
});

/** The commands that were carried out since the server started, as ACL rules name them. */
async function commandsUsed(redis: Redis): Promise<ReadonlySet<string>> {
  const statistics = await redis.info("commandstats");
  return new Set([...statistics.matchAll(/^cmdstat_(\S+?):calls=[1-9]/gm)].map(([, name]) => name!));
}

describe.skipIf(skip)(`passwords of Redis${reason}`, () => {
  const start = async (...serverArguments: string[]) => {
    const server = await startServer(redisCommand(...serverArguments));
    onTestFinished(() => server.close());
    return server;
  };
  const client = (url: string) => {
    const storage = redisStorage({ url, operationTimeoutMs });
    onTestFinished(() => storage.close());
    return storage;
  };

  it("are given, and what is special in them is percent-encoded", async () => {
    const { port } = await start("--requirepass", "open sesame@:/");
    const storage = client(`redis://:${encodeURIComponent("open sesame@:/")}@127.0.0.1:${port}`);

    expect((await storage.load(freshKey())).kind).toBe("absent");
    await storage.ping();
  });

  it("that are wrong or missing make a node one that cannot be reached", async () => {
    const { port } = await start("--requirepass", "right");

    for (const access of [":wrong@", "msm:wrong@", ""]) {
      const storage = client(`redis://${access}127.0.0.1:${port}`);
      await expect(storage.load(freshKey())).rejects.toMatchObject(unavailable);
      await expect(storage.ping()).rejects.toMatchObject(unavailable);
    }
  });

  it("stand in no error, and neither do records", async () => {
    const server = await start("--requirepass", "right");
    const wrong = client(`redis://:hunter2@127.0.0.1:${server.port}`);
    const right = client(`redis://:right@127.0.0.1:${server.port}`);
    await admin(server, { password: "right" }).config("SET", "maxmemory", "1");
    const record = testRecord({ payload: "what the user typed" });

    const errors = [
      await wrong.load(freshKey()).catch((error: unknown) => error),
      await right.save(freshKey(), record, minuteMs, { expect: "absent" }).catch((error: unknown) => error),
    ];

    expect(errors).toMatchObject([unavailable, { code: "MSM_ERR_STORAGE_REFUSED" }]);
    const shown = inspect(errors, { depth: 20, showHidden: true });
    expect(shown).not.toContain("hunter2");
    expect(shown).not.toContain("what the user typed");
    expect(shown).not.toContain(record.toString("hex").slice(0, 40));
  });

  it("of a user without a right make the server one that refuses", async () => {
    const server = await start();
    await admin(server).call("ACL", "SETUSER", "msm", ...userRule, "-get");
    const storage = client(`redis://msm:secret@127.0.0.1:${server.port}`);

    await expect(storage.load(freshKey())).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_REFUSED" });
    await expect(storage.load("other:{x}")).rejects.toMatchObject({ code: "MSM_ERR_STORAGE_REFUSED" });
  });

  it("of a user who may use neither INFO nor channels let all else work, without a warning", async () => {
    const server = await start("--maxmemory-policy", "allkeys-lru");
    await admin(server).call(
      "ACL",
      "SETUSER",
      "msm",
      ...userRule,
      ...["-info", "-publish", "-subscribe", "resetchannels"],
    );
    const warnings: string[] = [];
    const storage = redisStorage({
      url: `redis://msm:secret@127.0.0.1:${server.port}`,
      operationTimeoutMs,
      onWarning: (message) => warnings.push(message),
    });
    onTestFinished(() => storage.close());
    const key = freshKey();
    storage.onRelease!(key, () => {});

    expect((await storage.save(key, testRecord(), minuteMs, { expect: "absent" })).kind).toBe("stored");
    expect((await storage.load(key, { renewTtlMs: minuteMs })).kind).toBe("found");
    await storage.ping();
    await storage.ping();
    expect(warnings).toEqual([]);
  });

  it("of a user who may use CONFIG GET instead of INFO are enough for the warning", async () => {
    const server = await start("--maxmemory-policy", "volatile-lfu");
    const rules = [...userRule, "-info", "+config|get"];
    await admin(server).call("ACL", "SETUSER", "msm", ...rules);

    const warning = await new Promise<string>((resolve) => {
      const url = `redis://msm:secret@127.0.0.1:${server.port}`;
      const storage = redisStorage({ url, operationTimeoutMs, onWarning: resolve });
      onTestFinished(() => storage.close());
    });

    expect(warning).toContain("volatile-lfu");
  });
});

const tls = needsRedisWithTls();

describe.skipIf(tls.skip)(`Redis with TLS${tls.reason}`, () => {
  let certificates: Certificates;
  let server: TestServer;

  const withTls =
    (...serverArguments: string[]): ServerCommand =>
    (port) => {
      const { authority, server: own } = certificates;
      return redisCommand(
        ...["--port", "0", "--tls-port", String(port), "--tls-ca-cert-file", authority.certPath],
        ...["--tls-cert-file", own.certPath, "--tls-key-file", own.keyPath],
        ...serverArguments,
      )(port);
    };

  const trusted = () => ({
    ca: certificates.authority.cert,
    cert: certificates.client.cert,
    key: certificates.client.key,
  });

  const client = (url: string, options: RedisServerOptions["tls"]) => {
    const storage = redisStorage({ url, options: { tls: options }, operationTimeoutMs });
    onTestFinished(() => storage.close());
    return storage;
  };

  beforeAll(async () => {
    certificates = makeCertificates();
    server = await startServer(withTls());
  });
  afterAll(async () => {
    await server?.close();
    certificates?.remove();
  });

  it("keeps sessions, configured as documented", async () => {
    const servers = { "redis1:6379": `127.0.0.1:${server.port}` };
    const examples = documentedNodes("TLS", { servers, values: trusted() });

    expect(await Promise.all(examples.map(keepsSessions))).toEqual([true]);
  });

  it.each<[string, (all: Certificates) => object]>([
    ["that another authority vouches for", (all) => ({ ...all.client, ca: all.stranger.cert })],
    ["that no authority vouches for", (all) => ({ ...all.client })],
  ])("is not spoken to with a certificate %s", async (_what, options) => {
    const storage = client(`rediss://127.0.0.1:${server.port}`, options(certificates));

    await expect(storage.load(freshKey())).rejects.toMatchObject(unavailable);
    await expect(storage.load(freshKey())).rejects.toThrow(/certificate/);
  });

  it("speaks to nobody who shows no certificate, or one of another authority", async () => {
    const url = `rediss://127.0.0.1:${server.port}`;
    const { authority, stranger } = certificates;

    const nobody = client(url, { ca: authority.cert });
    await expect(nobody.load(freshKey())).rejects.toMatchObject(unavailable);
    const somebody = client(url, { ca: authority.cert, cert: stranger.cert, key: stranger.key });
    await expect(somebody.load(freshKey())).rejects.toMatchObject(unavailable);
  });

  it("cannot be reached without TLS", async () => {
    const storage = redisStorage({ url: `redis://127.0.0.1:${server.port}`, operationTimeoutMs });
    onTestFinished(() => storage.close());

    await expect(storage.load(freshKey())).rejects.toMatchObject(unavailable);
  });

  it("is a cluster as well", async () => {
    const bus = await freePort();
    const only = await startServer(
      withTls(
        "--cluster-enabled",
        "yes",
        "--tls-cluster",
        "yes",
        "--cluster-port",
        String(bus),
        ...inFolder(),
      ),
    );
    onTestFinished(() => only.close());
    const redis = admin(only, { tls: trusted() });
    await redis.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
    await waitUntil("the cluster works", async () => (await redis.cluster("INFO")).includes("state:ok"));
    const storage = client(`rediss+cluster://127.0.0.1:${only.port}`, trusted());
    const key = freshKey();

    expect((await storage.save(key, testRecord(), minuteMs, { expect: "absent" })).kind).toBe("stored");
    expect((await storage.load(key)).kind).toBe("found");
    await storage.ping();
  });

  it("is found through a sentinel with TLS as well", async () => {
    const path = join(folderOfTest(), "sentinel.conf");
    const { authority, server: own } = certificates;
    const sentinel = await startServer((port) => {
      const lines = [
        `port 0\ntls-port ${port}\ntls-replication yes\nbind 127.0.0.1`,
        `tls-ca-cert-file ${authority.certPath}`,
        `tls-cert-file ${own.certPath}\ntls-key-file ${own.keyPath}`,
        `sentinel monitor sessions 127.0.0.1 ${server.port} 1`,
      ];
      writeFileSync(path, `${lines.join("\n")}\n`);
      return [findProgram("redis-server")!, path, "--sentinel"];
    });
    onTestFinished(() => sentinel.close());
    const storage = redisStorage({
      url: `rediss+sentinel://127.0.0.1:${sentinel.port}/sessions`,
      options: { tls: trusted() },
      operationTimeoutMs,
    });
    onTestFinished(() => storage.close());

    expect((await storage.load(freshKey())).kind).toBe("absent");
  });
});

/** A folder that is there until the test is over. */
function folderOfTest(): string {
  const folder = mkdtempSync(join(tmpdir(), "msm-redis-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

const inFolder = () => ["--cluster-config-file", join(folderOfTest(), "nodes.conf")];
