import { describe, expect, it } from "vitest";
import { bytesOf } from "./command-sender.js";
import { authentication, checkWelcome, type MetaLine, MetaReader, metaExchange } from "./memcached-meta.js";
import {
  add,
  deleteIf,
  get,
  getAndTouch,
  type MemcachedReply,
  type MemcachedRequest,
  ping,
  replace,
  set,
  touch,
} from "./memcached-requests.js";

const sentFor = (request: MemcachedRequest, number = 7) =>
  bytesOf(metaExchange(request, number).commands).toString("latin1");

/** What a request gets where the server sends this. */
function replyTo(request: MemcachedRequest, text: string, number = 7): MemcachedReply | undefined {
  const exchange = metaExchange(request, number);
  let reply: MemcachedReply | undefined;
  for (const line of new MetaReader().read(Buffer.from(text, "latin1"))) reply = exchange.accept(line);
  return reply;
}

const value = Buffer.from("v\r\n");
const protocolError = expect.objectContaining({ code: "MSM_ERR_STORAGE_PROTOCOL" });

describe("requests of memcached's meta protocol", () => {
  it.each<[string, MemcachedRequest, string]>([
    ["get", get("k"), "mg k v c O7\r\n"],
    ["get and touch", getAndTouch("k", 2000), "mg k v c T2 O7\r\n"],
    ["touch", touch("k", 1), "mg k T1 O7\r\n"],
    ["set", set("k", value, 2000), "ms k 3 T2 O7\r\nv\r\n\r\n"],
    ["add", add("k", value, 2000), "add k 7 2 3\r\nv\r\n\r\nmg k c f O7\r\n"],
    ["replace", replace("k", value, 2000, 9n), "cas k 7 2 3 9\r\nv\r\n\r\nmg k c f O7\r\n"],
    [
      "replace whatever is there",
      replace("k", value, 2000, 0n),
      "replace k 7 2 3\r\nv\r\n\r\nmg k c f O7\r\n",
    ],
    ["delete", deleteIf("k", 0xffffffffffffffffn), "md k C18446744073709551615 O7\r\n"],
    ["delete whatever is there", deleteIf("k", 0n), "md k O7\r\n"],
    ["ping", ping, "mn\r\n"],
  ])("%s is what memcached reads", (_name, request, bytes) => {
    expect(sentFor(request)).toBe(bytes);
  });

  it("name no time that would be none as a signed number of 32 bits", () => {
    expect(sentFor(touch("k", Number.MAX_SAFE_INTEGER))).toBe("mg k T2147483647 O7\r\n");
  });

  it.each(["", "k".repeat(251), "a b", "a\r\nflush_all", "a\0", "ü", "\x7f"])(
    "have no key such as %j, which could be a command",
    (key) => {
      for (const request of [get(key), add(key, value, 1), deleteIf(key, 1n), touch(key, 1)]) {
        expect(() => metaExchange(request, 7)).toThrow(
          expect.objectContaining({ code: "MSM_ERR_STORAGE_REFUSED" }),
        );
      }
    },
  );

  it("have no value that could never be read", () => {
    const tooLarge = Buffer.alloc(64 * 1024 * 1024 + 1);

    for (const request of [add("k", tooLarge, 1), set("k", tooLarge, 1), replace("k", tooLarge, 1, 1n)]) {
      expect(() => metaExchange(request, 7)).toThrow(
        expect.objectContaining({ code: "MSM_ERR_STORAGE_REFUSED" }),
      );
    }
  });

  it("give a user name and a password as a record that no other memcached keeps", () => {
    expect(bytesOf([authentication("ada", "sécret")]).toString()).toBe("set msm 0 -1 11\r\nada sécret\r\n");
  });
});

describe("replies of memcached's meta protocol", () => {
  it.each<[string, MemcachedRequest, string, Partial<MemcachedReply>]>([
    ["a value", get("k"), "VA 3 c5 O7\r\nv\r\n\r\n", { status: "ok", cas: 5n, value }],
    ["an empty value", get("k"), "VA 0 O7 c5\r\n\r\n", { status: "ok", cas: 5n, value: Buffer.alloc(0) }],
    [
      "the largest CAS id",
      get("k"),
      "VA 1 c18446744073709551615 O7\r\nv\r\n",
      { status: "ok", cas: 0xffffffffffffffffn },
    ],
    ["no CAS ids", get("k"), "VA 1 c0 O7\r\nv\r\n", { status: "ok", cas: 0n }],
    ["no record", get("k"), "EN O7\r\n", { status: "notFound" }],
    ["a touched record", touch("k", 1), "HD O7\r\n", { status: "ok" }],
    ["no record to touch", touch("k", 1), "EN O7\r\n", { status: "notFound" }],
    ["deleted", deleteIf("k", 1n), "HD O7\r\n", { status: "ok" }],
    ["nothing to delete", deleteIf("k", 1n), "NF O7\r\n", { status: "notFound" }],
    ["another to delete", deleteIf("k", 1n), "EX O7\r\n", { status: "exists" }],
    ["set", set("k", value, 1), "HD O7\r\n", { status: "ok" }],
    ["added", add("k", value, 1), "STORED\r\nHD c5 f7 O7\r\n", { status: "ok", cas: 5n }],
    ["not added", add("k", value, 1), "NOT_STORED\r\nHD c5 f9 O7\r\n", { status: "notStored" }],
    ["replaced", replace("k", value, 1, 4n), "STORED\r\nHD c5 f7 O7\r\n", { status: "ok", cas: 5n }],
    ["another there", replace("k", value, 1, 4n), "EXISTS\r\nHD c5 f9 O7\r\n", { status: "exists" }],
    ["nothing there", replace("k", value, 1, 4n), "NOT_FOUND\r\nEN O7\r\n", { status: "notFound" }],
    ["pong", ping, "MN\r\n", { status: "ok" }],
  ])("say: %s", (_what, request, text, expected) => {
    expect(replyTo(request, text)).toMatchObject(expected);
  });

  it.each([
    ["replaced", "HD c6 f8 O7\r\n"],
    ["replaced by the binary protocol", "HD c6 f0 O7\r\n"],
    ["deleted", "EN O7\r\n"],
    ["not to be asked for", "SERVER_ERROR out of memory writing get response\r\n"],
  ])("give no CAS id for what was written and is %s since", (_what, text) => {
    const written = replyTo(add("k", value, 1), `STORED\r\n${text}`);

    expect(written).toMatchObject({ status: "ok" });
    expect(written && "cas" in written && written.cas).toBeUndefined();
  });

  it.each([
    ["SERVER_ERROR object too large for cache", "MSM_ERR_STORAGE_REFUSED"],
    ["SERVER_ERROR out of memory storing object", "MSM_ERR_STORAGE_REFUSED"],
    ["SERVER_ERROR backend failure", "MSM_ERR_STORAGE_UNAVAILABLE"],
  ])("%s is trouble with this request alone", (text, code) => {
    expect(replyTo(get("k"), `${text}\r\n`)).toMatchObject({ status: "trouble", error: { code } });
    expect(replyTo(set("k", value, 1), `${text}\r\n`)).toMatchObject({ status: "trouble", error: { code } });
    const written = replyTo(replace("k", value, 1, 1n), `${text}\r\nHD c5 f9 O7\r\n`);
    expect(written).toMatchObject({ status: "trouble", error: { code } });
  });

  it("say that a user name and a password are wanted", () => {
    expect(() => replyTo(get("k"), "CLIENT_ERROR unauthenticated\r\n")).toThrow(
      expect.objectContaining({
        code: "MSM_ERR_STORAGE_UNAVAILABLE",
        message: expect.stringContaining("wants a user name and a password"),
      }),
    );
  });

  it.each<[string, MemcachedRequest, string]>([
    ["another number", get("k"), "VA 1 c5 O8\r\nv\r\n"],
    ["a number that only begins so", get("k"), "VA 1 c5 O70\r\nv\r\n"],
    ["no number", get("k"), "EN\r\n"],
    ["no CAS id", get("k"), "VA 1 O7\r\nv\r\n"],
    ["a CAS id that is none", get("k"), "VA 1 cx O7\r\nv\r\n"],
    ["a value where none was asked", touch("k", 1), "VA 1 c5 O7\r\nv\r\n"],
    ["a value to a deletion", deleteIf("k", 1n), "VA 1 c5 O7\r\nv\r\n"],
    ["a head where a value was asked", get("k"), "HD c5 O7\r\n"],
    ["what became of a write to a read", get("k"), "STORED\r\n"],
    ["a head before what became of a write", add("k", value, 1), "HD c5 f7 O7\r\n"],
    ["another number behind a write", add("k", value, 1), "STORED\r\nHD c5 f7 O8\r\n"],
    ["a value behind a write", add("k", value, 1), "STORED\r\nVA 1 c5 f7 O7\r\nv\r\n"],
    ["a record to a ping", ping, "EN O7\r\n"],
    ["that it does not know the command", get("k"), "ERROR\r\n"],
    ["that the command is wrong", get("k"), "CLIENT_ERROR bad command line format\r\n"],
  ])("are not believed with %s", (_what, request, text) => {
    expect(() => replyTo(request, text)).toThrow(protocolError);
  });

  it("never show what was sent as user name and password", () => {
    for (const text of [
      "CLIENT_ERROR ada secret",
      "SERVER_ERROR ada secret",
      "ada secret",
      "VALUE ada secret",
    ]) {
      expect(() => checkWelcome({ text })).toThrow(/^(?!.*(ada|secret))/s);
    }
    expect(() => checkWelcome({ text: "STORED" })).not.toThrow();
  });
});

describe("lines of memcached's meta protocol", () => {
  const long = Buffer.alloc(200, "END\r\nVA 3\r\n");
  const stream = Buffer.concat([
    Buffer.from("VA 9 c5 O1\r\nVA 2\r\nab\n\r\nEN O2\r\n"),
    Buffer.from(`VA ${long.length} c6 O3\r\n`),
    long,
    Buffer.from("\r\nVA 0 c1 O4\r\n\r\nSERVER_ERROR out of memory storing object\r\n"),
  ]);
  const wanted: MetaLine[] = [
    { text: "VA 9 c5 O1", value: Buffer.from("VA 2\r\nab\n") },
    { text: "EN O2" },
    { text: `VA ${long.length} c6 O3`, value: long },
    { text: "VA 0 c1 O4", value: Buffer.alloc(0) },
    { text: "SERVER_ERROR out of memory storing object" },
  ];

  it.each([1, 2, 3, 7, 50, 250])("are read from chunks of %d bytes", (chunkBytes) => {
    const reader = new MetaReader();
    const lines: MetaLine[] = [];

    for (let at = 0; at < stream.length; at += chunkBytes) {
      lines.push(...reader.read(stream.subarray(at, at + chunkBytes)));
    }

    expect(lines).toEqual(wanted);
    expect(reader.isAtEnd).toBe(true);
  });

  it("are read wherever the stream is cut in two", () => {
    for (let at = 0; at <= stream.length; at += 1) {
      const reader = new MetaReader();
      expect([...reader.read(stream.subarray(0, at)), ...reader.read(stream.subarray(at))]).toEqual(wanted);
    }
  });

  it("are none while a byte is missing", () => {
    for (let at = 0; at < stream.length; at += 1) {
      const lines = new MetaReader().read(stream.subarray(0, at));
      expect(lines).toEqual(wanted.slice(0, lines.length));
      expect(lines.length).toBeLessThan(wanted.length);
    }
  });

  it.each([
    ["memcached's binary protocol", Buffer.from([0x81, 0, 0, 0])],
    ["TLS", Buffer.from([0x15, 3, 3, 0, 2])],
    ["noise", Buffer.from([0xee, 0x0a])],
    ["lines that end otherwise", Buffer.from("EN O1\n")],
    ["empty lines", Buffer.from("\r\n")],
    ["a line that never ends", Buffer.alloc(1025, "a")],
    ["a line that ends too late", Buffer.concat([Buffer.alloc(1024, "a"), Buffer.from("\r\n")])],
    ["a carriage return inside", Buffer.from("E\rN\r\n")],
    ["a value without a length", Buffer.from("VA\r\n")],
    ["a value with a length that is none", Buffer.from("VA x c1\r\n")],
    ["a value with a negative length", Buffer.from("VA -1 c1\r\n")],
    ["a value with a fraction for a length", Buffer.from("VA 1.5 c1\r\n")],
    ["a value that is larger than any record", Buffer.from("VA 67108865 c1\r\n")],
    ["a value that is larger than all memory", Buffer.from("VA 99999999999999999999 c1\r\n")],
    ["a value that is longer than announced", Buffer.from("VA 1 c1\r\nabc\r\n")],
    ["a value that is shorter than announced", Buffer.from("VA 5 c1\r\nabc\r\nEN O1\r\n")],
  ])("are not %s", (_what, bytes) => {
    expect(() => new MetaReader().read(bytes)).toThrow(protocolError);
    expect(() => {
      const reader = new MetaReader();
      for (const byte of bytes) reader.read(Buffer.from([byte]));
    }).toThrow(protocolError);
  });

  it("give every request its own value or none, whatever becomes of replies on their way", () => {
    const random = seeded(20260101);
    const tally = { right: 0, none: 0, refused: 0 };
    for (let round = 0; round < 2000; round += 1) {
      const keys = Array.from({ length: 6 }, (_, index) => `k${round}x${index}`);
      const textFor = (key: string) => `${key}\r\n`.repeat(1 + random(30));
      const values = keys.map(textFor);
      const exchanges = keys.map((key, index) => metaExchange(get(key), index + 1));
      const replies = values.map((text, index) => `VA ${text.length} c1 O${index + 1}\r\n${text}\r\n`);
      const received: (MemcachedReply | undefined)[] = [];

      try {
        const reader = new MetaReader();
        for (const chunk of chunksOf(harmed(replies, random), random)) {
          for (const line of reader.read(chunk)) received.push(exchanges[received.length]?.accept(line));
        }
      } catch (thrown) {
        expect(thrown).toEqual(protocolError);
        tally.refused += 1;
      }

      for (const [index, reply] of received.entries()) {
        if (!reply || reply.status === "trouble") tally.none += 1;
        else {
          expect(reply.value.toString()).toBe(values[index]);
          tally.right += 1;
        }
      }
    }
    expect(Math.min(...Object.values(tally)), JSON.stringify(tally)).toBeGreaterThan(100);
  });
});

/** The replies with one harm to them: one is lost, comes twice, changes places, becomes something else, or breaks off. */
function harmed(replies: readonly string[], random: (below: number) => number): Buffer {
  const texts = [...replies];
  const [at, other] = [random(texts.length), random(texts.length)];
  const harms = [
    () => texts.splice(at, 1),
    () => texts.splice(at, 0, texts[at]!),
    () => texts.splice(at, 1, texts[other]!),
    () => texts.splice(at, 0, "SERVER_ERROR out of memory\r\n"),
    () => texts.splice(at, 1, "EN\r\n"),
    () => texts.splice(at, 0, Buffer.from([random(256), random(256)]).toString("latin1")),
    () => texts.splice(at, texts.length, texts[at]!.slice(0, random(texts[at]!.length))),
    () => texts.splice(at, 0, texts[other]!.slice(random(texts[other]!.length))),
  ];
  harms[random(harms.length)]!();
  return Buffer.from(texts.join(""), "latin1");
}

function* chunksOf(bytes: Buffer, random: (below: number) => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random(500);
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** Numbers that are the same at each run (a linear congruential generator). */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
