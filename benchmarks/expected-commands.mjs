/** What each way of msm may ask its storage, for each request. */
import { storageNames } from "./contestants.mjs";

/**
 * Commands of one request, by what it does: leave its session alone or read it, change it, or begin it. A sticky session is in
 * memory, and its change is one command. Else one loads and one saves; a lease comes and goes in the same commands, but where
 * nothing is saved one gives it back.
 *
 * memcached has no scripts: a lease is taken by three commands in one trip (add it, see who has it, load) and given back in
 * the trip that saves, by one, or else by a question and a deletion. docs/locking.md, packages/core/src/storage/memcached.ts
 */
const expected = {
  "redis-server": {
    sticky: { read: 0, write: 1, begin: 1 },
    "non-sticky optimistic": { read: 1, write: 2, begin: 1 },
    "non-sticky all": { read: 2, write: 2, begin: 1 },
  },
  memcached: {
    sticky: { read: 0, write: 1, begin: 1 },
    "non-sticky optimistic": { read: 1, write: 2, begin: 1 },
    "non-sticky all": { read: 5, write: 5, begin: 1 },
  },
};

/** A copy on a second node: one script, or a look at what is there and a write over it. */
const copyCommands = { "redis-server": 1, memcached: 2 };

const deeds = { S: "read", R: "read", W: "write", RL: "read", WL: "write", N: "begin" };

/**
 * Twice a second each process looks on each node whether others have left word, by so many commands at most. They are few
 * among those of a slice, where one too many of a request would be a whole number.
 */
const mostForNotices = 4;

/**
 * What is wrong with the number of commands in a cell: a sentence, or none where nothing is, or nothing is expected of it.
 * @param {import("./comparison.mjs").Cell} cell
 * @param {number} nodes that the contestant has
 * @returns {string[]}
 */
export function wrongCommands({ contestant, workload, slices }, nodes) {
  const wanted = expectedCommands(contestant, workload, nodes);
  if (wanted === undefined) return [];
  const where = `${contestant.framework}, ${contestant.name}, ${workload.name}`;
  return slices
    .filter((slice) => !isAsExpected(slice, wanted, nodes))
    .map(({ commands }) => `${where}: ${commands.toFixed(2)} commands for each request, not ${wanted}`);
}

function isAsExpected({ answered, perSecond, commands }, wanted, nodes) {
  const looks = 1 + Math.ceil((2 * answered) / perSecond);
  const most = Math.min((mostForNotices * nodes * looks) / answered, 0.5);
  return commands >= wanted - 0.01 && commands <= wanted + most;
}

function expectedCommands({ sessions, storage }, { name }, nodes) {
  if (sessions.kind !== "msm" || !(storage in storageNames)) return undefined;
  const isSticky = sessions.mode === "sticky";
  const deed = deeds[name];
  const own = expected[storage][isSticky ? "sticky" : `non-sticky ${sessions.locking}`][deed];
  // The process that has a sticky session is its second place.
  const isCopied = !isSticky && deed !== "read" && nodes > 1;
  return own + (isCopied ? copyCommands[storage] : 0);
}
