import { describe, expect, it } from "vitest";
import {
  keyOf,
  logIn,
  nodeKinds,
  nodeOf,
  overwriteRecord,
  type RealNode,
  startNodes,
  startProcess,
} from "./real-nodes.js";

/** What may happen to the bytes of a record on its node; `other` is the record of another session. */
const damages = {
  "whose last bit was flipped": (record: Buffer) => {
    record[record.length - 1]! ^= 1;
    return record;
  },
  "that was cut short": (record: Buffer) => record.subarray(0, record.length - 1),
  "of which little is left": (record: Buffer) => record.subarray(0, 10),
  "that is empty": () => Buffer.alloc(0),
  "whose version was raised": (record: Buffer) => {
    record.write("f0", 2, "latin1");
    return record;
  },
  "that calls itself a tombstone": (record: Buffer) => {
    record.write("f".repeat(16), 2, "latin1");
    return record;
  },
  "that is another session's": (_: Buffer, other: Buffer) => other,
} as const;

async function recordOn(node: RealNode, id: string): Promise<Buffer> {
  const loaded = await node.storage.load(keyOf(id));
  if (loaded.kind !== "found") throw new Error(`${node.id} has no record`);
  return Buffer.from(loaded.record);
}

for (const { kind, skip, reason } of nodeKinds) {
  describe.skipIf(skip)(`a damaged record on a ${kind} node${reason}`, () => {
    for (const locking of ["optimistic", "all"] as const) {
      it.each(Object.entries(damages))(
        `%s gives way to its copy, and the session goes on, with locking "${locking}"`,
        async (_, damage) => {
          const nodes = await startNodes(kind, 2);
          const process = startProcess(nodes, { locking });
          const { client, id, hint } = await logIn(process, "ann");
          const other = await logIn(process, "bob");
          const home = nodeOf(nodes, hint);
          const bobs = await recordOn(nodeOf(nodes, other.hint), other.id);
          await overwriteRecord(home, id, damage(await recordOn(home, id), bobs));

          const first = await client.visit(process, (attributes) => {
            attributes.n = 1;
          });
          const second = await client.visit(process);

          expect(first.result.outcome).toBe("stored");
          expect({ ...second.session?.attributes }).toEqual({ user: "ann", n: 1 });
        },
      );
    }
  });
}
