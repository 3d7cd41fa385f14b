import { pause } from "@msm/conformance";
import type { BenchNode } from "../bench.js";
import { isSticky } from "../cell.js";
import { type NodeContents, overwriteRecord } from "../node-scan.js";
import { add, demand, type Row, type Stage } from "../row.js";
import { digestOf, readCookie } from "../session-cookie.js";
import type { TrackedSession } from "../tracked-session.js";

/** Rows in which what a node gives is not what was stored there. */
export const recordRows: readonly Row[] = [
  {
    id: "F24",
    title: "records are damaged, exchanged, or of a later release",
    load: "none",
    inject: spoil,
  },
];

/** What can be done to a record; `other` is another session's. */
const damages: Readonly<Record<string, (record: Buffer, other: Buffer, stage: Stage) => Buffer>> = {
  "bit flipped": (record, _other, { random }) => {
    const spoilt = Buffer.from(record);
    const at = random.between(0, record.length - 1);
    spoilt[at] = spoilt[at]! ^ (1 << random.between(0, 7));
    return spoilt;
  },
  truncated: (record, _other, { random }) => record.subarray(0, random.between(0, record.length - 1)),
  exchanged: (_record, other) => other,
  "version raised": (record) => Buffer.concat([record.subarray(0, 2), Buffer.from("f0"), record.subarray(4)]),
};

async function spoil(stage: Stage): Promise<void> {
  const { population, bench } = stage;
  const sessions = await population.begin(60);
  for (const session of sessions) await session.ask("append").answered;
  await pause(300); // the copies are there
  const [stranger] = await population.begin(1);
  for (const [at, session] of sessions.entries()) {
    const contents = await bench.scan();
    const kinds = Object.keys(damages);
    const kind = kinds[at % kinds.length]!;
    const node = bench.node(readCookie(session.cookie!).node);
    const record = recordOf(session, node, contents);
    const other = recordOf(stranger!, bench.node(readCookie(stranger!.cookie!).node), contents);
    if (record === undefined || other === undefined)
      throw new Error(`${session.name} is not where it should be`);
    await overwriteRecord(
      stage.cell.storage,
      node.server.port,
      digestOf(session.id),
      damages[kind]!(record, other, stage),
    );
    await useSpoilt(stage, session);
    add(stage, kind, 1);
  }
  await meetLaterRelease(stage);
}

const recordOf = (
  session: TrackedSession,
  node: BenchNode,
  contents: ReadonlyMap<string, NodeContents>,
): Buffer | undefined => contents.get(node.id)?.records.get(digestOf(session.id))?.bytes;

/** What is served is what was stored, or an error; then it can be used again. */
async function useSpoilt(stage: Stage, session: TrackedSession): Promise<void> {
  const before = await session.ask("read").answered;
  const after = await session.ask("append").answered;
  for (const { outcome } of [before, after]) add(stage, `then ${outcome.kind}`, 1);
}

/** What a later release has written is neither used nor overwritten by this one. */
async function meetLaterRelease(stage: Stage): Promise<void> {
  if (isSticky(stage.cell)) return; // the owner's memory is newer than what anybody could have written there
  const { population, bench, cell } = stage;
  for (const session of await population.begin(10)) {
    await session.ask("append").answered;
    const node = bench.node(readCookie(session.cookie!).node);
    const record = recordOf(session, node, await bench.scan());
    if (record === undefined) throw new Error(`${session.name} is not where it should be`);
    const later = Buffer.concat([Buffer.from("M2"), record.subarray(2)]);
    await overwriteRecord(cell.storage, node.server.port, digestOf(session.id), later);
    const { outcome } = await session.ask("append").answered;
    demand(
      stage,
      outcome.kind !== "acknowledged",
      `${session.name} was served from a record of a later release`,
    );
    const kept = recordOf(session, node, await bench.scan());
    demand(stage, kept?.equals(later) === true, `a record of a later release was overwritten`);
    add(stage, "later release", 1);
    session.standing = "uncertain"; // this release cannot serve it any more
  }
}
