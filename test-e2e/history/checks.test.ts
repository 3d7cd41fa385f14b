import { describe, expect, it } from "vitest";
import {
  brokenPrefixes,
  type Check,
  countedOutOfOrder,
  countedTooLittle,
  countedTooMuch,
  countedTwice,
  doubledWrites,
  foreignSessions,
  forks,
  lostCounts,
  lostWrites,
  type SessionHistory,
  staleCounts,
  staleReads,
  unfoundedWrites,
} from "./checks.js";
import { listDigest } from "./list-digest.mjs";
import type { FinalState, Operation, OperationKind, Reply } from "./operation.js";
import { judge, promises } from "./verdict.js";

/** Three requests of session s1, one after the other, and a fourth whose connection broke: all as it should be. */
const list = ["s1:app1:1", "s1:app2:2"] as const;
const first = appended(list[0], { from: 0, to: 10 }, { found: [], count: 1 });
const second = appended(list[1], { from: 20, to: 30 }, { found: [list[0]], count: 2 });
const reading = acknowledged(
  { id: "s1:app1:3", kind: "read", startedMs: 40, endedMs: 50 },
  { tag: "s1", count: 2, length: 2, digest: listDigest(list) },
);
const broken: Operation = {
  ...{ id: "s1:app3:4", session: "s1", kind: "append", startedMs: 40, endedMs: 60 },
  outcome: { kind: "indeterminate", why: "ECONNRESET" },
};
const refused: Operation = {
  ...{ id: "s1:app3:5", session: "s1", kind: "append", startedMs: 40, endedMs: 60 },
  outcome: { kind: "refused", code: "MSM_ERR_CONFLICT" },
};
const sound = history({ operations: [first, second, reading, broken, refused] });

const everyCheck = promises("all", "non-sticky");

describe("the checks", () => {
  it.each(everyCheck.map((check) => [check.name, check]))(
    "%s finds nothing in a sound history",
    (_name, check) => {
      expect(check(sound)).toEqual([]);
    },
  );

  it.each(everyCheck.map((check) => [check.name, check]))(
    "%s allows that a request without an answer was carried out",
    (_name, check) => {
      expect(check(history({ ...sound, final: { found: [...list, broken.id], count: 3 } }))).toEqual([]);
    },
  );
});

interface Forgery {
  readonly what: string;
  readonly check: Check;
  readonly history: SessionHistory;
  readonly found: string;
}

const forgeries: Forgery[] = [
  {
    what: "an acknowledged write that is not there in the end",
    check: lostWrites,
    history: history({ ...sound, final: { found: [list[0]], count: 2 } }),
    found: "s1:app2:2 was acknowledged and is lost",
  },
  {
    what: "a write that was applied twice",
    check: doubledWrites,
    history: history({ ...sound, final: { found: [...list, list[0]], count: 3 } }),
    found: "s1:app1:1 was applied more than once",
  },
  {
    what: "a write that was refused and is there all the same",
    check: unfoundedWrites,
    history: history({ ...sound, final: { found: [...list, refused.id], count: 3 } }),
    found: "s1:app3:5 was refused (MSM_ERR_CONFLICT) and is found",
  },
  {
    what: "a write that nobody asked for",
    check: unfoundedWrites,
    history: history({ ...sound, final: { found: [...list, "s1:app9:9"], count: 3 } }),
    found: "s1:app9:9 is found and nobody wrote it",
  },
  {
    what: "an answer from another's session",
    check: foreignSessions,
    history: history({ ...sound, operations: [withReply(first, { tag: "s2" }), second] }),
    found: "s1:app1:1 was served with the session s2",
  },
  {
    what: "an answer from a session that began anew",
    check: foreignSessions,
    history: history({ ...sound, operations: [withReply(first, { tag: undefined }), second] }),
    found: "s1:app1:1 was served with the session undefined",
  },
  {
    what: "another's session in the end",
    check: foreignSessions,
    history: history({ ...sound, final: { tag: "s2" } }),
    found: "the session s1 ended as s2",
  },
  {
    what: "a write of another's session",
    check: foreignSessions,
    history: history({ ...sound, final: { found: [...list, "s2:app1:1"] } }),
    found: "s1 holds s2:app1:1",
  },
  {
    what: "a counter that lacks acknowledged counts",
    check: countedTooLittle,
    history: history({ ...sound, final: { count: 1 } }),
    found: "s1 counted 1, and 2 counts were acknowledged",
  },
  {
    what: "a counter above all that was asked for",
    check: countedTooMuch,
    history: history({ ...sound, final: { count: 4 } }),
    found: "s1 counted 4, and at most 3 were asked for",
  },
  {
    what: "one number that two requests counted to",
    check: countedTwice,
    history: history({ ...sound, operations: [first, withReply(second, { count: 1 })] }),
    found: "s1:app1:1 and s1:app2:2 both counted to 1",
  },
  {
    what: "a lower number after a higher one",
    check: countedOutOfOrder,
    history: history({ ...sound, operations: [withReply(first, { count: 3 }), second] }),
    found: "s1:app2:2 counted to 2 after 3 was acknowledged",
  },
  {
    what: "a reader who sees a counter of long ago",
    check: staleCounts,
    history: history({ ...sound, operations: [first, second, withReply(reading, { count: 1 })] }),
    found: "s1:app1:3 read 1 after 2 was acknowledged",
  },
  {
    what: "a reader who sees less than was acknowledged before",
    check: staleReads,
    history: history({
      ...sound,
      operations: [first, second, withReply(reading, { length: 1, digest: listDigest([list[0]]) })],
    }),
    found: "s1:app1:3 found 1 ids after 2 were acknowledged",
  },
  {
    what: "a list that was found and is no beginning of the final one",
    check: brokenPrefixes,
    history: history({
      ...sound,
      operations: [first, second, withReply(reading, { digest: listDigest([list[1], list[0]]) })],
    }),
    found: "s1:app1:3 found 2 ids that are no beginning of the list",
  },
  {
    what: "a write at another place than it was appended to",
    check: brokenPrefixes,
    history: history({ ...sound, final: { found: [list[0], broken.id, list[1]], count: 3 } }),
    found: "s1:app2:2 was appended to 1 ids, where s1:app3:4 is",
  },
];

describe.each(forgeries)("a forged history with $what", ({ check, history: forged, found }) => {
  it(`is found by ${check.name}`, () => {
    expect(check(forged)).toContain(found);
  });

  it("does not pass the judge", () => {
    expect(judge([{ ...forged, policy: "all" }], "non-sticky", () => 0).violations).toContain(found);
  });
});

describe("a counter's history", () => {
  const begun = withReply(first, { parent: "" });
  const straight = history({ ...sound, operations: [begun, withReply(second, { parent: begun.id })] });
  const forked = history({
    ...sound,
    operations: [begun, withReply(second, { parent: "", count: 1 })],
    final: { count: 1 },
  });

  it("does not fork where each request counts on from the one before", () => {
    expect(forks(straight)).toBe(0);
    expect(lostCounts(straight)).toBe(0);
  });

  it("forks where two requests count on from the same value, and one of them is lost", () => {
    expect(forks(forked)).toBe(1);
    expect(lostCounts(forked)).toBe(1);
  });

  it("may fork as often as there were conflict events, where the last write wins, and not once more", () => {
    const judged = [{ ...forked, policy: "last-write-wins" as const }];

    expect(judge(judged, "non-sticky", () => 1)).toMatchObject({ violations: [], overwritten: 1, lost: 0 });
    expect(judge(judged, "non-sticky", () => 0).violations).toEqual([
      "the counters' histories fork 1 times, and there were 0 conflict events",
    ]);
  });
});

it("a sticky process may read what another has changed since, and not write on that ground", () => {
  const old = history({
    ...sound,
    operations: [first, second, withReply(reading, { count: 1, length: 1, digest: listDigest([list[0]]) })],
  });
  const written = history({ ...sound, operations: [first, withReply(second, { count: 1 })] });

  expect(judge([{ ...old, policy: "all" }], "sticky", () => 0).violations).toEqual([]);
  expect(judge([{ ...written, policy: "all" }], "sticky", () => 0).violations).not.toEqual([]);
});

it("a verdict counts what was acknowledged, refused and left open, and what was lost", () => {
  const forged = history({ ...sound, final: { found: [list[0], list[0]], count: 1 } });

  expect(judge([{ ...forged, policy: "all" }], "non-sticky", () => 0)).toMatchObject({
    requests: 5,
    acknowledged: 3,
    refused: { MSM_ERR_CONFLICT: 1 },
    indeterminate: { ECONNRESET: 1 },
    lost: 2, // one id, and one count
    doubled: 1,
    p99Ms: 10,
  });
});

function history({
  operations,
  final,
}: {
  operations: readonly Operation[];
  final?: Partial<FinalState>;
}): SessionHistory {
  return { session: "s1", operations, final: { tag: "s1", found: list, count: 2, ...final } };
}

function appended(
  id: string,
  times: { from: number; to: number },
  { found, count }: { found: readonly string[]; count: number },
): Operation {
  return acknowledged(
    { id, kind: "append", startedMs: times.from, endedMs: times.to },
    { tag: "s1", count, length: found.length, digest: listDigest(found) },
  );
}

function acknowledged(
  request: { id: string; kind: OperationKind; startedMs: number; endedMs: number },
  reply: Reply,
): Operation {
  return { ...request, session: "s1", outcome: { kind: "acknowledged", reply } };
}

function withReply(operation: Operation, forged: Partial<Reply>): Operation {
  if (operation.outcome.kind !== "acknowledged") throw new Error(`${operation.id} has no reply`);
  const reply = { ...operation.outcome.reply, ...forged };
  return { ...operation, outcome: { kind: "acknowledged", reply } };
}
