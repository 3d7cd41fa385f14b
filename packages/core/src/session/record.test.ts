import { randomBytes, randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { deriveKeys } from "../cookie/keys.js";
import { MsmError } from "../errors.js";
import { tombstoneVersion } from "../storage/record-prefix.js";
import {
  createSealer,
  isNewerFormat,
  mostAncestors,
  newWriteId,
  nextVersion,
  type RecordSealer,
  type SessionRecord,
} from "./record.js";
import { identify, newSessionId } from "./session-id.js";

const oldSecret = "an old secret of more than 32 bytes!";
const newSecret = "a new secret of more than 32 bytes!!";
const sealerWith = (...secrets: string[]) => createSealer(deriveKeys(secrets).record);

const record: SessionRecord = {
  version: nextVersion(undefined),
  writeId: newWriteId(),
  ancestors: [newWriteId(), newWriteId()],
  idleTimeoutMs: 1_800_000,
  codec: "json",
  createdAtMs: 1_700_000_000_000,
  expiresAtMs: undefined,
  route: "app1",
  home: "n1",
  ring: "0123abcd",
  table: new Map([
    ["user", Buffer.from('"ann"')],
    ["ä€", Buffer.from('{"a":[1,2,3]}')],
    ["", Buffer.alloc(0)],
  ]),
};

describe("a record", () => {
  const sealer = sealerWith(newSecret);
  const identity = identify(newSessionId());
  /** What a sealer reads of what another one wrote, its table as a plain map. */
  const read = (reader: RecordSealer, writer: RecordSealer, written: SessionRecord) => {
    const opened = reader.open(identity, writer.seal(identity, written));
    return { ...opened, table: new Map(opened.table) };
  };

  it("gives back what was sealed", () => {
    expect(read(sealer, sealer, record)).toEqual(record);
    const expiring = { ...record, expiresAtMs: 1_700_000_000_001, route: "", home: "" };
    expect(read(sealer, sealer, expiring)).toEqual(expiring);
  });

  it("names the last of the versions that it contains", () => {
    const ancestors = Array.from({ length: 3 * mostAncestors }, newWriteId);

    const { ancestors: named } = sealer.open(identity, sealer.seal(identity, { ...record, ancestors }));

    expect(named).toEqual(ancestors.slice(-mostAncestors));
  });

  it("opens under no other session's id", () => {
    expect(() => sealer.open(identify(newSessionId()), sealer.seal(identity, record))).toThrow(
      "MSM_ERR_RECORD_SPOILT",
    );
  });

  it("opens with any key of the list, and is sealed with the first", () => {
    const both = sealerWith(newSecret, oldSecret);

    expect(read(both, sealerWith(oldSecret), record)).toEqual({
      ...record,
      isOldKey: true,
    });
    expect(read(sealer, both, record)).toEqual(record);
    expect(() => sealer.open(identity, sealerWith(oldSecret).seal(identity, record))).toThrow(
      "not in `secret`",
    );
  });

  it("never holds the session id", () => {
    expect(sealer.seal(identity, record).includes(identity.id)).toBe(false);
  });

  it("of a later release is known as such", () => {
    const later = sealer.seal(identity, record);
    later.write("M2", "latin1");

    expect(isNewerFormat(later)).toBe(true);
    expect(() => sealer.open(identity, later)).toThrow("newer than M1");
    expect(isNewerFormat(sealer.seal(identity, record))).toBe(false);
  });

  it("that is a tombstone has the highest version and no attributes", () => {
    const opened = sealer.open(identity, sealer.tombstone(identity, 1000));

    expect(opened.version).toBe(tombstoneVersion);
    expect(opened.table.size).toBe(0);
    expect(nextVersion("00000000000000ff") < tombstoneVersion).toBe(true);
  });

  it("is not accepted when any one bit of it is turned", () => {
    const sealed = sealer.seal(identity, record);

    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const turned = Buffer.from(sealed);
      turned[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => sealer.open(identity, turned), `bit ${bit}`).toThrow("MSM_ERR_RECORD_SPOILT");
    }
  });

  it("is accepted of none of 100,000 random and mutated ones, and nothing else is thrown", () => {
    const sealed = sealer.seal(identity, record);
    let accepted = 0;
    let otherErrors = 0;

    for (let round = 0; round < 100_000; round++) {
      const bytes = round % 4 === 0 ? randomBytes(randomInt(300)) : mutated(sealed);
      if (bytes.equals(sealed)) continue;
      try {
        sealer.open(identity, bytes);
        accepted++;
      } catch (error) {
        if (!(error instanceof MsmError) || error.code !== "MSM_ERR_RECORD_SPOILT") otherErrors++;
      }
    }

    expect({ accepted, otherErrors }).toEqual({ accepted: 0, otherErrors: 0 });
  }, 60_000);
});

function mutated(sealed: Buffer): Buffer {
  const at = randomInt(sealed.length);
  const copy = Buffer.from(sealed);
  switch (randomInt(5)) {
    case 0:
      copy[at] = randomInt(256);
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2:
      return Buffer.concat([copy.subarray(0, at), randomBytes(1 + randomInt(8)), copy.subarray(at)]);
    case 3:
      return Buffer.concat([copy, randomBytes(1 + randomInt(8))]);
    default:
      copy.set(randomBytes(Math.min(16, copy.length - at)), at);
      return copy;
  }
}
