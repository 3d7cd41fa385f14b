import { describe, expect, it } from "vitest";
import { jsonCodec } from "../codec/json.js";
import { LiveSession } from "./live-session.js";
import type { EncodedConflict } from "./merge.js";
import { RestingTable } from "./resting-table.js";
import { identify, newSessionId } from "./session-id.js";
import { SessionView, viewAsObject } from "./session-view.js";

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const tableOf = (values: Record<string, unknown>) =>
  new Map(Object.entries(values).map(([k, v]) => [k, bytes(v)]));
const plain = (live: LiveSession) =>
  Object.fromEntries(
    [...live.table].map(([name, value]) => [name, JSON.parse(Buffer.from(value).toString())]),
  );

function liveWith(values: Record<string, unknown>) {
  const conflicts: EncodedConflict[] = [];
  let decoded = 0;
  let encoded = 0;
  const live = new LiveSession({
    identity: identify(newSessionId()),
    createdAtMs: 0,
    expiresAtMs: undefined,
    idleTimeoutMs: 1000,
    node: "n1",
    maxTableBytes: 10_000,
    codec: {
      name: "json",
      encode(value) {
        encoded++;
        return jsonCodec.encode(value);
      },
      decode(value) {
        decoded++;
        return jsonCodec.decode(value);
      },
    },
    resolver: () => (conflict) => {
      conflicts.push(conflict);
      return conflict.mine;
    },
    stored: {
      node: "n1",
      writeId: "0",
      ancestors: [],
      revision: { version: "1" },
      table: tableOf(values),
      idleTimeoutMs: 1000,
    },
  });
  const attach = () => {
    const view = new SessionView(live);
    return { view, attributes: viewAsObject({ view }, Object.create(null) as object) };
  };
  return { live, attach, conflicts, work: () => ({ decoded, encoded }) };
}

describe("a view of a session", () => {
  it("is modified from a change to the fold that takes it, and not by a read", () => {
    const { attach } = liveWith({ a: 1, b: { c: 2 } });
    const { view, attributes } = attach();
    const seen: boolean[] = [];
    const look = () => seen.push(view.isModified);

    look();
    void attributes.b.c;
    look();
    attributes.b.c = 3;
    look();
    view.fold();
    look();
    attributes.a = () => {}; // cannot be encoded
    look();
    attributes.a = 1;
    look();
    delete attributes.a;
    look();

    expect(seen).toEqual([false, false, true, false, true, false, true]);
  });

  it("decodes nothing and encodes nothing until an attribute is touched", () => {
    const { live, attach, work } = liveWith({ a: 1, b: { c: 2 } });
    const { view, attributes } = attach();

    expect("a" in attributes).toBe(true);
    expect(view.fold()).toBe(0);
    expect(live.unsaved).toBe(false);
    expect(work()).toEqual({ decoded: 0, encoded: 0 });
  });

  it("costs a decode and an encode for the one object that was read", () => {
    const { attach, work } = liveWith({ a: { x: 1 }, b: { c: 2 }, n: 3 });
    const { view, attributes } = attach();

    expect(attributes.a.x).toBe(1);
    expect(attributes.n).toBe(3);

    expect(view.fold()).toBe(0);
    expect(work()).toEqual({ decoded: 2, encoded: 1 });
  });

  it("sees what is changed deep inside an object", () => {
    const { live, attach } = liveWith({ cart: { items: ["a"] }, other: 1 });
    const { view, attributes } = attach();

    attributes.cart.items.push("b");

    expect(view.fold()).toBe(1);
    expect(plain(live)).toEqual({ cart: { items: ["a", "b"] }, other: 1 });
  });

  it("deletes, and counts an assignment of undefined as a deletion", () => {
    const { live, attach } = liveWith({ a: 1, b: 2 });
    const { view, attributes } = attach();

    delete attributes.a;
    attributes.b = undefined;
    expect(Object.keys(attributes)).toEqual([]);

    expect(view.fold()).toBe(1);
    expect(plain(live)).toEqual({});
  });

  it("finds no change where a value is assigned that was there", () => {
    const { attach } = liveWith({ a: { b: 1 } });
    const { view, attributes } = attach();

    attributes.a = { b: 1 };

    expect(view.fold()).toBe(0);
  });

  it("refuses names that reach a prototype, and stays as it was", () => {
    const { attach } = liveWith({});
    const { view, attributes } = attach();

    for (const name of ["__proto__", "constructor", "prototype"]) {
      expect(() => Object.assign(attributes, JSON.parse(`{"${name}":{"polluted":1}}`))).toThrow(
        "MSM_ERR_ATTRIBUTE_NAME",
      );
    }

    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(view.fold()).toBe(0);
  });

  it("gives an attribute its former value back when the new one cannot be encoded", () => {
    const { live, attach } = liveWith({ a: 1 });
    const { view, attributes } = attach();
    const circular: Record<string, unknown> = {};
    circular.self = circular;

    attributes.a = circular;

    expect(() => view.fold()).toThrow("MSM_ERR_CODEC");
    expect(live.read("a")).toBe(1);
  });

  it("looks like the object it stands for", () => {
    const { attach } = liveWith({ a: 1, b: { c: [2] } });
    const { attributes } = attach();

    expect(JSON.stringify(attributes)).toBe('{"a":1,"b":{"c":[2]}}');
    expect({ ...attributes }).toEqual({ a: 1, b: { c: [2] } });
  });
});

describe("a live session that requests share", () => {
  it("loses no increment between two awaits", async () => {
    const { live, attach } = liveWith({ n: 0 });
    const increment = async () => {
      const { view, attributes } = attach();
      await Promise.resolve();
      attributes.n += 1;
      await Promise.resolve();
      return view.fold();
    };

    await Promise.all(Array.from({ length: 32 }, increment));

    expect(plain(live)).toEqual({ n: 32 });
  });

  it("tells a request of the change that another's commit folded for it", () => {
    const { attach } = liveWith({ list: [] });
    const first = attach();
    const second = attach();

    first.attributes.list.push(1);
    second.attributes.list.push(2);

    expect(first.view.fold()).toBe(1);
    expect(second.view.fold()).toBe(1);
  });

  it("keeps what one request does to an object after another committed it unchanged", () => {
    const { live, attach } = liveWith({ cart: ["a"] });
    const reader = attach();
    const writer = attach();
    expect(reader.attributes.cart).toEqual(["a"]);
    const { cart } = writer.attributes;
    reader.view.fold();

    cart.push("b");

    expect(writer.view.fold()).toBe(1);
    expect(plain(live)).toEqual({ cart: ["a", "b"] });
  });

  it("keeps what a handler does to an object after its own first commit", () => {
    const { live, attach } = liveWith({ cart: ["a"] });
    const { view, attributes } = attach();
    const { cart } = attributes;
    expect(view.fold()).toBe(0);

    cart.push("b");

    expect(view.fold()).toBe(1);
    expect(plain(live)).toEqual({ cart: ["a", "b"] });
  });

  it("shows a merge to requests that changed nothing themselves", () => {
    const { live, attach, conflicts } = liveWith({ a: { v: 1 }, n: 1 });
    const { view, attributes } = attach();
    expect(attributes.a.v).toBe(1);

    live.rebase(tableOf({ a: { v: 2 }, n: 2 }));

    expect(attributes.a.v).toBe(2);
    expect(attributes.n).toBe(2);
    expect(view.fold()).toBe(0);
    expect(conflicts).toEqual([]);
  });

  it("keeps what was assigned before a merge and folded after it, as a conflict", () => {
    const { live, attach, conflicts } = liveWith({ n: 1 });
    const { view, attributes } = attach();
    attributes.n = 5;

    live.rebase(tableOf({ n: 7 }));
    view.fold();

    expect(plain(live)).toEqual({ n: 5 });
    expect(conflicts).toEqual([{ name: "n", base: bytes(1), mine: bytes(5), theirs: bytes(7) }]);
  });

  it("keeps what is done, after a merge, to an object that was handed out before it", () => {
    const { live, attach, conflicts } = liveWith({ list: [1] });
    const { view, attributes } = attach();
    const { list } = attributes;

    live.rebase(tableOf({ list: [1, 2] }));
    list.push(3);
    view.fold();

    expect(plain(live)).toEqual({ list: [1, 3] });
    expect(conflicts).toEqual([
      { name: "list", base: bytes([1]), mine: bytes([1, 3]), theirs: bytes([1, 2]) },
    ]);
  });
});

describe("a live session that failed to fold", () => {
  it("loses no other request's change to the same object", () => {
    const { live, attach } = liveWith({ list: [1] });
    const first = attach();
    const second = attach();
    first.attributes.list.push("x".repeat(20_000));

    expect(() => first.view.fold()).toThrow("MSM_ERR_RECORD_TOO_LARGE");
    expect(live.read("list")).toEqual([1]);
    second.attributes.list.push(2);
    expect(second.view.fold()).toBeGreaterThan(0);

    expect(plain(live)).toEqual({ list: [1, 2] });
  });

  it("forgets, once nobody holds it, what was assigned and never folded", () => {
    const { live, attach } = liveWith({ n: 1 });
    attach().attributes.n = 2;

    live.settle();

    expect(live.read("n")).toBe(1);
  });

  it("keeps decoded what requests only read", () => {
    const { live, attach, work } = liveWith({ a: { x: 1 } });
    for (let request = 0; request < 3; request++) {
      const { view, attributes } = attach();
      expect(attributes.a.x).toBe(1);
      view.fold();
      live.settle();
    }

    expect(work()).toEqual({ decoded: 1, encoded: 3 });
  });
});

describe("what a session and another version of it have in common", () => {
  const theirs = (writeId: string, ancestors: readonly string[], values: Record<string, unknown>) => ({
    node: "n1",
    writeId,
    ancestors,
    revision: { version: "9" },
    table: tableOf(values),
    idleTimeoutMs: 1000,
  });

  it("is its own write of unknown outcome, where the other is that or goes on from it", () => {
    const { live } = liveWith({ a: 1 });
    live.noteUncertain("mine", tableOf({ a: 2 }));
    live.noteUncertain("newer", tableOf({ a: 3 }));

    const commonWith = (writeId: string, ancestors: readonly string[]) =>
      [...live.commonWith(theirs(writeId, ancestors, { a: 5 }))].map(([, value]) => String(value));

    expect(commonWith("mine", ["0"])).toEqual(["2"]);
    expect(commonWith("another", ["0", "mine"])).toEqual(["2"]);
    expect(commonWith("another", ["0", "mine", "newer", "third"])).toEqual(["3"]);
    expect(commonWith("another", ["0"])).toEqual(["1"]);
  });
});

describe("the versions that a session contains", () => {
  const state = (writeId: string, ancestors: readonly string[]) => ({
    node: "n1",
    writeId,
    ancestors,
    revision: { version: "9" },
    table: tableOf({}),
    idleTimeoutMs: 1000,
  });
  const containedAfter = (...states: (readonly [writeId: string, ancestors: readonly string[]])[]) => {
    const { live } = liveWith({});
    for (const [writeId, ancestors] of states) live.takeIn(state(writeId, ancestors));
    return [...live.contained].join(" ");
  };

  it("are in the order in which they came, the newest last, whichever it met late", () => {
    expect(containedAfter(["2", ["0", "1"]], ["5", ["0", "1", "2", "3", "4"]])).toBe("0 1 2 3 4 5");
    expect(containedAfter(["2", ["0", "1"]], ["9", ["7", "8"]])).toBe("0 1 2 7 8 9");
  });

  it("are the newest of both sides at the end, where two were made of the same one", () => {
    expect(containedAfter(["b", ["0", "a"]], ["6", ["0", "1", "2", "3", "4", "5"]])).toBe(
      "0 1 2 a b 3 4 5 6",
    );
  });
});

describe("a session that rests", () => {
  it("is the same to whoever uses it again, and is changed and rests once more", () => {
    const { live, attach, work } = liveWith({ a: 1, b: { c: [2] } });
    const { attributes } = attach();
    void attributes.b;
    live.settle();
    const { stored } = live;

    live.rest();

    expect([live.stored === stored, live.stored?.table === live.table]).toEqual([true, true]);
    expect(live.table).toBeInstanceOf(RestingTable);
    const next = attach();
    expect([{ ...next.attributes }, work().decoded]).toEqual([{ a: 1, b: { c: [2] } }, 3]);
    next.attributes.b.c.push(3);
    const change = next.view.fold();
    live.markSaved({ ...live.stored!, writeId: "1", table: live.table }, change);
    live.settle();
    live.rest();
    expect({ ...attach().attributes }).toEqual({ a: 1, b: { c: [2, 3] } });
  });

  it("does not while a request holds it, or something in it is unsaved", () => {
    const { live, attach } = liveWith({ a: 1 });

    live.holders = 1;
    live.rest();
    expect(live.table).not.toBeInstanceOf(RestingTable);

    live.holders = 0;
    const { view, attributes } = attach();
    attributes.a = 2;
    view.fold();
    live.rest();
    expect(live.table).not.toBeInstanceOf(RestingTable);
    expect(attach().attributes.a).toBe(2);
  });
});
