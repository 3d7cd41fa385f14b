import { connect, type Socket } from "node:net";
import { tombstoneVersion, versionOf } from "./record-version.js";

/** What a node holds of a session. */
interface StoredRecord {
  /** 16 hexadecimal digits. */
  readonly version: string;
  readonly isTombstone: boolean;
  readonly bytes: Buffer;
}

/** What a node holds. */
export interface NodeContents {
  /** By the session's digest, as it stands in the key. */
  readonly records: ReadonlyMap<string, StoredRecord>;
  /** Digests of the sessions that are locked. */
  readonly leases: readonly string[];
}

const patienceMs = 5000;

/** Reads everything that a node holds, on a connection of its own. @throws Error where it does not answer in 5 s */
export async function scanNode(storage: "memcached" | "redis", port: number): Promise<NodeContents> {
  const connection = new LineConnection(port);
  try {
    const keys = await (storage === "redis" ? redisKeys(connection) : memcachedKeys(connection));
    const records = new Map<string, StoredRecord>();
    for (const key of keys.filter((each) => each.endsWith(":s"))) {
      const bytes = await (storage === "redis" ? redisGet(connection, key) : memcachedGet(connection, key));
      if (bytes !== undefined) records.set(digestIn(key), recordOf(bytes));
    }
    return { records, leases: keys.filter((key) => key.endsWith(":l")).map(digestIn) };
  } finally {
    connection.end();
  }
}

/** Puts bytes where a node keeps a session's record, past everything that guards it; 60 s to live. */
export async function overwriteRecord(
  storage: "memcached" | "redis",
  port: number,
  digest: string,
  bytes: Uint8Array,
): Promise<void> {
  const connection = new LineConnection(port);
  try {
    const key = `msm:{${digest}}:s`;
    if (storage === "redis") {
      connection.send(redisCommand("SET", key, bytes, "PX", "60000"));
    } else {
      connection.send(Buffer.concat([Buffer.from(`set ${key} 0 60 ${bytes.length}\r\n`), bytes, crlf]));
    }
    await connection.line();
  } finally {
    connection.end();
  }
}

/** Sends a Redis node a command, e.g. `["CONFIG", "SET", …]`. @returns the first line of its answer */
export async function tellRedis(port: number, ...words: string[]): Promise<string> {
  const connection = new LineConnection(port);
  try {
    connection.send(redisCommand(...words));
    return await connection.line();
  } finally {
    connection.end();
  }
}

/** A number out of memcached's `stats` or Redis' `INFO stats`. @returns 0 where there is none of that name */
export async function statOf(storage: "memcached" | "redis", port: number, name: string): Promise<number> {
  const connection = new LineConnection(port);
  try {
    if (storage === "redis") {
      connection.send(redisCommand("INFO", "stats"));
      const info = (await redisBulk(connection))?.toString("latin1") ?? "";
      return Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
    }
    connection.send("stats\r\n");
    let found = 0;
    for (let line = await connection.line(); line !== "END"; line = await connection.line()) {
      if (line.startsWith(`STAT ${name} `)) found = Number(line.split(" ")[2]);
    }
    return found;
  } finally {
    connection.end();
  }
}

const crlf = Buffer.from("\r\n");

const digestIn = (key: string) => /\{(.*)\}/.exec(key)?.[1] ?? "";

function recordOf(bytes: Buffer): StoredRecord {
  const version = versionOf(bytes);
  return { version, isTombstone: version === tombstoneVersion, bytes };
}

/** A command as RESP has it: an array of bulk strings. */
function redisCommand(...words: (string | Uint8Array)[]): Buffer {
  const parts = words.flatMap((word) => {
    const bytes = Buffer.from(word);
    return [Buffer.from(`$${bytes.length}\r\n`), bytes, crlf];
  });
  return Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts]);
}

async function redisKeys(connection: LineConnection): Promise<string[]> {
  connection.send(redisCommand("KEYS", "*"));
  const count = Number((await connection.line()).slice(1));
  const keys: string[] = [];
  for (let at = 0; at < count; at++) keys.push((await redisBulk(connection))?.toString("latin1") ?? "");
  return keys;
}

async function redisGet(connection: LineConnection, key: string): Promise<Buffer | undefined> {
  connection.send(redisCommand("GET", key));
  return redisBulk(connection);
}

async function redisBulk(connection: LineConnection): Promise<Buffer | undefined> {
  const header = await connection.line();
  if (!header.startsWith("$")) throw new Error(`Redis answered ${header}`);
  const length = Number(header.slice(1));
  return length < 0 ? undefined : connection.bytes(length);
}

/** https://github.com/memcached/memcached/blob/master/doc/protocol.txt, "lru_crawler metadump": "hash" misses nothing, as items move only in the LRU lists */
async function memcachedKeys(connection: LineConnection): Promise<string[]> {
  const keys: string[] = [];
  connection.send("lru_crawler metadump hash\r\n");
  for (let line = await connection.line(); line !== "END"; line = await connection.line()) {
    const key = /^key=(\S+)/.exec(line)?.[1];
    if (key === undefined) throw new Error(`memcached answered ${line}`);
    keys.push(decodeURIComponent(key));
  }
  return keys;
}

async function memcachedGet(connection: LineConnection, key: string): Promise<Buffer | undefined> {
  connection.send(`get ${key}\r\n`);
  const header = await connection.line();
  if (!header.startsWith("VALUE ")) return undefined;
  const value = await connection.bytes(Number(header.split(" ")[3]));
  await connection.line(); // END
  return value;
}

/** A connection to a server whose answers are lines, and bytes of a length that a line names. */
class LineConnection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #trouble: Error | undefined;
  #wake = () => {};

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1" });
    this.#socket.setTimeout(patienceMs, () => this.#socket.destroy(new Error("the node does not answer")));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the node hung up")));
    this.#socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
  }

  send(question: string | Buffer): void {
    this.#socket.write(question);
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf("\r\n");
      const lf = this.#received.indexOf("\n"); // metadump ends its lines without CR
      if (end >= 0 && end < lf) return this.#take(end, 2).toString("latin1");
      if (lf >= 0) return this.#take(lf, 1).toString("latin1");
      await this.#more();
    }
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.#received.length < count + 2) await this.#more();
    return this.#take(count, 2);
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(count: number, thenSkip: number): Buffer {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count + thenSkip);
    return taken;
  }

  async #more(): Promise<void> {
    if (this.#trouble !== undefined) throw this.#trouble;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (this.#trouble !== undefined && this.#received.length === 0) throw this.#trouble;
  }

  #fail(error: Error): void {
    this.#trouble ??= error;
    this.#wake();
  }
}
