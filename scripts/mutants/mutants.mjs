/** @typedef {import("./mutate.mjs").Mutant} Mutant */
/** @typedef {import("./mutate.mjs").Catcher} Catcher */

const core = "packages/core/src";
const tests = "packages/conformance/test";
const memory = `${core}/storage/memory.ts`;
const memcached = `${core}/storage/memcached.ts`;
const redisScripts = `${core}/storage/redis-scripts.ts`;
const replicas = `${core}/failover/replicas.ts`;

/**
 * A test of the storage contract, as one driver runs it.
 * @param {"memory" | "memcached" | "redis"} driver
 * @param {string} title
 * @returns {Catcher}
 */
const contract = (driver, title) => ({
  file: `${tests}/storage-${driver}.test.ts`,
  title: `storage contract: ${driver} ${title}`,
});

/** @param {string} title @returns {Catcher} */
const nonSticky = (title) => ({
  file: `${tests}/life-cycle/non-sticky.test.ts`,
  title: `non-sticky: ${title}`,
});

/** @param {string} file @param {string} title @returns {Catcher} */
const scenario = (file, title) => ({ file: `${tests}/life-cycle/scenarios/${file}.test.ts`, title });

/** @param {string} title @returns {Catcher} */
const sticky = (title) => ({ file: `${tests}/life-cycle/sticky.test.ts`, title: `sticky: ${title}` });

/**
 * The defects that the tests must catch. Those of one kind stand together: the kind, a slash, the place.
 * @type {readonly Mutant[]}
 */
export const mutants = [
  {
    name: "unconditional-unlock/memory",
    breaks: "a process frees the lease that another took after its own had ended",
    changes: [
      {
        file: memory,
        find: "return this.#leases.get(key) === token && this.#leases.delete(key);",
        replace: "return this.#leases.delete(key);",
      },
    ],
    catchers: [contract("memory", "leases are not freed by another token")],
  },
  {
    name: "unconditional-unlock/redis",
    breaks: "unlock deletes the lease, whoever holds it",
    needs: "redis-server",
    changes: [
      {
        file: redisScripts,
        find: "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end\nreturn 0",
        replace: "return redis.call('DEL', KEYS[1])",
      },
    ],
    catchers: [contract("redis", "leases are not freed by another token")],
  },
  {
    name: "unconditional-unlock/redis-save",
    breaks: "a save that gives its lease back deletes the lease, whoever holds it",
    needs: "redis-server",
    changes: [
      {
        file: redisScripts,
        find: "if ARGV[4] ~= '' and redis.call('GET', KEYS[2]) == ARGV[4] then redis.call('DEL', KEYS[2]) end",
        replace: "if ARGV[4] ~= '' then redis.call('DEL', KEYS[2]) end",
      },
    ],
    catchers: [contract("redis", "leases of another stay, though a save names a token")],
  },
  {
    name: "unconditional-unlock/memcached",
    breaks: "unlock deletes the lease that it finds, whoever holds it",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "if (holder?.token !== token) return false;",
        replace: "if (!holder) return false;",
      },
    ],
    catchers: [
      contract("memcached", "leases are not freed by another token"),
      contract("memcached", "leases of another stay, though a save names a token"),
    ],
  },
  {
    name: "unconditional-unlock/memcached-delete",
    breaks: "a lease that became another's between the look and the deletion is deleted",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "await connection.ask([deleteIf(keys.lease, holder.cas)], mark);",
        replace: "await connection.ask([deleteIf(keys.lease, 0n)], mark);",
      },
    ],
    catchers: [
      {
        file: `${tests}/storage-memcached.test.ts`,
        title: "frees no lease that became another's between the look and the deed",
      },
    ],
  },
  {
    name: "save-without-version/memory",
    breaks: "a save replaces what another wrote since the session was loaded",
    changes: [
      {
        file: memory,
        find: "if (isTombstone(current) || versionOf(current) !== options.expect.version)",
        replace: "if (isTombstone(current))",
      },
    ],
    catchers: [
      contract("memory", "save gives conflict where another version is there, and leaves it there"),
      nonSticky(
        "requests at the same time both keep what they changed where they changed different attributes",
      ),
    ],
  },
  {
    name: "save-without-version/redis",
    breaks: "a save replaces what another wrote since the session was loaded",
    needs: "redis-server",
    changes: [
      {
        file: redisScripts,
        find: "if version ~= ARGV[1] or version == 'ffffffffffffffff' then return 1 end",
        replace: "if version == 'ffffffffffffffff' then return 1 end",
      },
    ],
    catchers: [contract("redis", "save gives conflict where another version is there, and leaves it there")],
  },
  {
    name: "save-without-version/memcached",
    breaks: "a save replaces what another wrote since the session was loaded",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "[replace(keys.record, record, ttlMs, revision.cas)],",
        replace: "[replace(keys.record, record, ttlMs, 0n)],",
      },
    ],
    catchers: [
      contract("memcached", "save gives conflict where another version is there, and leaves it there"),
    ],
  },
  {
    name: "set-for-replace/memcached",
    breaks: "a record that is refused as too large takes the old one with it",
    needs: "memcached",
    changes: [
      {
        file: `${core}/storage/memcached-protocol.ts`,
        find: "  opcode: opcode.replace,",
        replace: "  opcode: 0x01,",
      },
    ],
    catchers: [
      {
        file: `${tests}/storage-memcached.test.ts`,
        title: "keeps the old record where a new one is too large",
      },
    ],
  },
  {
    name: "set-for-replace/memcached-gone",
    breaks: "a save brings back a session that is not there any more",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: 'if (reply.status === status.notFound) return { kind: "gone" };',
        replace: "if (reply.status === status.notFound) return create(connection, keys, record, ttlMs);",
      },
    ],
    catchers: [contract("memcached", "save gives gone where the record's time was over since it was loaded")],
  },
  {
    name: "set-for-replace/redis",
    breaks: "a save brings back a session that is not there any more",
    needs: "redis-server",
    changes: [
      {
        file: redisScripts,
        find: "if current == '' and ARGV[1] ~= '' then return 2 end",
        replace: "if current == '' then version = ARGV[1] end",
      },
    ],
    catchers: [contract("redis", "save gives gone where nothing is there, and stores nothing")],
  },
  {
    name: "set-for-replace/memory",
    breaks: "a save brings back a session that is not there any more",
    changes: [
      {
        file: memory,
        find: `if (!current) return { kind: "gone" };
        if (isTombstone(current) || versionOf(current) !== options.expect.version)`,
        replace: "if (current && (isTombstone(current) || versionOf(current) !== options.expect.version))",
      },
    ],
    catchers: [
      contract("memory", "save gives gone where nothing is there, and stores nothing"),
      nonSticky(
        "a node fails with both copies: the request whose session is gone is refused, and the next one starts anew",
      ),
    ],
  },
  {
    name: "no-tombstone/nothing-written",
    breaks: "a session that was destroyed is found again on the nodes",
    changes: [
      {
        file: `${core}/life-cycle/bury.ts`,
        find: "if (wasAnnounced) await parts.replicas.bury(live.identity);",
        replace: "if (wasAnnounced) parts.replicas.close();",
      },
    ],
    catchers: [
      sticky("a session that is destroyed is gone in every process, and its old cookie is worth nothing"),
    ],
  },
  {
    name: "no-tombstone/deleted-instead",
    breaks: "the record is let go instead: who loaded the session before writes it again",
    changes: [
      {
        file: replicas,
        find: "await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));\n        return true;",
        replace: "await node.run((storage) => storage.touch(key, 1));\n        return true;",
      },
    ],
    catchers: [
      sticky("a session that is destroyed in another process cannot be written again by its former owner"),
    ],
  },
  {
    name: "tombstone-on-primary-only",
    breaks: "the copy of a destroyed session is taken for the session once its primary is gone or empty",
    changes: [
      {
        file: replicas,
        find: "this.#parts.ring.nodes.map(async (node) => {\n        if (await this.#buryOn",
        replace:
          "[this.#parts.ring.place(identity.digest)].map(async (node) => {\n        if (await this.#buryOn",
      },
    ],
    catchers: [
      scenario(
        "destroyed-and-its-primary-is-lost",
        "non-sticky: a session that was destroyed stays so when its primary is down, in every process",
      ),
    ],
  },
  {
    name: "secondary-by-local-availability/first-in-list",
    breaks: "the copy goes to the first node of the list, where no reader looks next",
    changes: [
      {
        file: replicas,
        find: "for (const node of ring.targets(home)) {\n      if (node === homeNode) continue;",
        replace:
          "for (const node of ring.nodes.filter((other) => other.reachable)) {\n      if (node === homeNode) continue;",
      },
    ],
    catchers: [
      scenario(
        "copy-follows-the-ring",
        "non-sticky, 4 nodes: the copy goes to the node that follows the primary in the ring, wherever that is",
      ),
    ],
  },
  {
    name: "secondary-by-local-availability/at-random",
    breaks: "the copy goes to any node that is up: each process looks for it elsewhere",
    changes: [
      {
        file: replicas,
        find: "for (const node of ring.targets(home)) {\n      if (node === homeNode) continue;",
        replace:
          "for (const node of [...ring.targets(home)].sort(() => Math.random() - 0.5)) {\n      if (node === homeNode) continue;",
      },
    ],
    catchers: [
      scenario(
        "copy-follows-the-ring",
        "non-sticky, 4 nodes: the copy goes to the node that follows the primary in the ring, wherever that is",
      ),
    ],
  },
  {
    name: "no-mac/record",
    breaks: "bytes that were spoilt, forged, or sealed for another session are taken for the session's",
    changes: [
      {
        file: `${core}/session/record.ts`,
        find: "if (!timingSafeEqual(mac(key, identity, bytes), bytes.subarray(macAt, tableAt))) {",
        replace: "if (mac(key, identity, bytes).length !== macBytes) {",
      },
    ],
    catchers: [
      { file: `${core}/session/record.test.ts`, title: "a record opens under no other session's id" },
      {
        file: `${core}/session/record.test.ts`,
        title: "a record is not accepted when any one bit of it is turned",
      },
    ],
  },
  {
    name: "no-mac/record-without-session",
    breaks: "a record that lies under another session's key is taken for that session's",
    changes: [{ file: `${core}/session/record.ts`, find: "    .update(identity.digest)\n", replace: "" }],
    catchers: [
      { file: `${core}/session/record.test.ts`, title: "a record opens under no other session's id" },
    ],
  },
  {
    name: "no-mac/cookie",
    breaks: "anybody can choose a session id and the node that is asked",
    changes: [
      {
        file: `${core}/cookie/session-cookie.ts`,
        find: "if (parts !== undefined && verifies(parts.payload, parts.mac)) {",
        replace: "if (parts !== undefined) {",
      },
    ],
    catchers: [
      {
        file: `${core}/cookie/session-cookie.test.ts`,
        title:
          "the session cookie is not accepted with another node, id or MAC, whichever character is changed",
      },
    ],
  },
  {
    name: "unknown-as-absent/error",
    breaks: "a node that does not answer counts as one that has nothing: users are logged out",
    changes: [
      {
        file: replicas,
        find: 'return { kind: "unknown", node, error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE") };',
        replace: 'return { kind: "absent", node };',
      },
    ],
    catchers: [
      nonSticky("a node fails and nobody is logged out while a node that may have the session is silent"),
    ],
  },
  {
    name: "unknown-as-absent/not-asked",
    breaks: "a node that is known to be down counts as one that has nothing: users are logged out",
    changes: [
      {
        file: replicas,
        find: "return answer === undefined ? node.mayHoldRecords :",
        replace: "return answer === undefined ? false :",
      },
    ],
    catchers: [
      scenario(
        "down-node-may-have-the-session",
        "non-sticky: a node that is known to be down, and is not asked, is not taken to have nothing",
      ),
    ],
  },
  {
    name: "add-retried-without-compare/locked-by-itself",
    breaks: "who took the lease and lost the reply waits for its own lease to end",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: 'if (holder && holder.token !== lease.token) return { kind: "locked"',
        replace: 'if (holder && holder.token !== "") return { kind: "locked"',
      },
    ],
    catchers: [contract("memcached", "leases are had again by their own token, whose reply was lost")],
  },
  {
    name: "add-retried-without-compare/taken-over",
    breaks: "an ADD that says there is a lease already is taken for the own one of a try before",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: 'if (holder && holder.token !== lease.token) return { kind: "locked"',
        replace: 'if (holder && holder.token === "") return { kind: "locked"',
      },
    ],
    catchers: [contract("memcached", "leases are taken with the record, and keep others from it")],
  },
  {
    name: "add-retried-without-compare/record",
    breaks: "the first record of another is taken for the own one, whose reply was lost",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: 'if (current) return isSameWrite(current.record, record) ? storedAgain(current) : { kind: "conflict" };',
        replace: "if (current) return storedAgain(current);",
      },
    ],
    catchers: [contract("memcached", "save stores a first record, and no second one as the first")],
  },
];
