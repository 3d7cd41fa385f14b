import { describe, expect, it } from "vitest";
import { encodeRequest, opcode, ReplyReader, status } from "./memcached-binary.js";
import { add, deleteIf, expiry, get, getAndTouch, ping, replace, touch } from "./memcached-requests.js";

const hex = (...parts: string[]) => Buffer.from(parts.join("").replaceAll(" ", ""), "hex");

/** A reply as memcached sends it. */
function replyFrame(parts: {
  opcode?: number;
  status?: number;
  opaque?: number;
  cas?: bigint;
  extras?: string;
  value?: Buffer;
}) {
  const { opcode: code = opcode.get, status: outcome = status.ok, opaque = 1, cas = 5n } = parts;
  const extras = Buffer.from(parts.extras ?? "", "hex");
  const body = Buffer.concat([extras, parts.value ?? Buffer.alloc(0)]);
  const header = Buffer.alloc(24);
  header.writeUInt8(0x81, 0);
  header.writeUInt8(code, 1);
  header.writeUInt8(extras.length, 4);
  header.writeUInt16BE(outcome, 6);
  header.writeUInt32BE(body.length, 8);
  header.writeUInt32BE(opaque, 12);
  header.writeBigUInt64BE(cas, 16);
  return Buffer.concat([header, body]);
}

describe("requests of memcached's binary protocol", () => {
  it("are a header, extras, key and value", () => {
    const frame = encodeRequest(
      replace("Hello", Buffer.from("World"), 3_600_000, 0x1122334455667788n),
      0xdeadbeef,
    );

    expect(frame).toEqual(
      hex(
        "80 03 0005", // magic, opcode, length of the key
        "08 00 0000", // length of the extras, data type, reserved
        "00000012", // length of the body
        "deadbeef", // opaque
        "1122334455667788", // CAS id
        "00000000 00000e10", // flags, expiry in seconds
        Buffer.from("HelloWorld").toString("hex"),
      ),
    );
  });

  it.each([
    ["get", get("k"), "80 00 0001 00 00 0000 00000001 00000007 0000000000000000 6b"],
    ["ping", ping, "80 0b 0000 00 00 0000 00000000 00000007 0000000000000000"],
    ["delete", deleteIf("k", 9n), "80 04 0001 00 00 0000 00000001 00000007 0000000000000009 6b"],
    ["touch", touch("k", 2000), "80 1c 0001 04 00 0000 00000005 00000007 0000000000000000 00000002 6b"],
    [
      "get and touch",
      getAndTouch("k", 2000),
      "80 1d 0001 04 00 0000 00000005 00000007 0000000000000000 00000002 6b",
    ],
    [
      "add",
      add("k", Buffer.from("v"), 1),
      "80 02 0001 08 00 0000 0000000a 00000007 0000000000000000 00000000 00000001 6b 76",
    ],
  ])("%s is what memcached reads", (_name, request, bytes) => {
    expect(encodeRequest(request, 7)).toEqual(hex(bytes));
  });
});

describe("times to live for memcached", () => {
  const nowMs = Date.UTC(2030, 0, 1);

  it.each([
    [1, 1],
    [999, 1],
    [1000, 1],
    [1001, 2],
    [1_800_000, 1800],
    [30 * 86_400_000, 30 * 86_400],
  ])("of %d ms are %d s", (ttlMs, seconds) => {
    expect(expiry(ttlMs, nowMs)).toBe(seconds);
  });

  it("over thirty days are a time since 1970", () => {
    expect(expiry(30 * 86_400_000 + 1, nowMs)).toBe(nowMs / 1000 + 30 * 86_400 + 1);
    expect(expiry(Number.MAX_SAFE_INTEGER, nowMs)).toBe(0xffffffff);
  });
});

describe("replies of memcached's binary protocol", () => {
  const first = replyFrame({ opaque: 1, extras: "00000000", value: Buffer.from("one") });
  const second = replyFrame({ opaque: 2, status: status.notFound, cas: 0n });
  const third = replyFrame({
    opaque: 3,
    opcode: opcode.add,
    cas: 0xffffffffffffffffn,
    value: Buffer.alloc(300, "x"),
  });
  const stream = Buffer.concat([first, second, third]);
  const wanted = [
    { opcode: opcode.get, status: status.ok, opaque: 1, cas: 5n, value: Buffer.from("one") },
    { opcode: opcode.get, status: status.notFound, opaque: 2, cas: 0n, value: Buffer.alloc(0) },
    {
      opcode: opcode.add,
      status: status.ok,
      opaque: 3,
      cas: 0xffffffffffffffffn,
      value: Buffer.alloc(300, "x"),
    },
  ];

  it.each([1, 2, 23, 24, 25, 100, 1000])("are read from chunks of %d bytes", (chunkBytes) => {
    const reader = new ReplyReader();
    const replies = [];

    for (let at = 0; at < stream.length; at += chunkBytes) {
      replies.push(...reader.read(stream.subarray(at, at + chunkBytes)));
    }

    expect(replies).toEqual(wanted);
  });

  it("are read wherever the stream is cut in two", () => {
    for (let at = 0; at <= stream.length; at += 1) {
      const reader = new ReplyReader();
      expect([...reader.read(stream.subarray(0, at)), ...reader.read(stream.subarray(at))]).toEqual(wanted);
    }
  });

  it.each([
    ["another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["a request", encodeRequest(get("k"), 1)],
    ["a first byte that is wrong", Buffer.from([0x80])],
    ["a body that is larger than any item", hex("81 00 0000 00 00 0000 ffffffff 00000001 0000000000000000")],
    [
      "a body that is smaller than its key",
      hex("81 00 0005 00 00 0000 00000004 00000001 0000000000000000 61616161"),
    ],
    ["noise behind a reply", Buffer.concat([second, Buffer.from([0])])],
  ])("are not %s", (_what, bytes) => {
    expect(() => new ReplyReader().read(bytes)).toThrow(
      expect.objectContaining({ code: "MSM_ERR_STORAGE_PROTOCOL" }),
    );
  });
});
