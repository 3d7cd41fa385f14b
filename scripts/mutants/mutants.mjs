/** @typedef {import("./mutate.mjs").Mutant} Mutant */
/** @typedef {import("./mutate.mjs").Catcher} Catcher */

const core = "packages/core/src";
const tests = "packages/conformance/test";
const memory = `${core}/storage/memory.ts`;
const memcached = `${core}/storage/memcached.ts`;
const memcachedMeta = `${core}/storage/memcached-meta.ts`;
const redis = `${core}/storage/redis.ts`;
const redisScripts = `${core}/storage/redis-scripts.ts`;
const burials = `${core}/failover/burials.ts`;
const nodeReader = `${core}/failover/node-reader.ts`;
const recordWriter = `${core}/failover/record-writer.ts`;

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
const twoHolders = (title) => scenario("two-holders-of-one-session", title);

/** @param {string} title @returns {Catcher} */
const sticky = (title) => ({ file: `${tests}/life-cycle/sticky.test.ts`, title: `sticky: ${title}` });

/** @param {string} title @returns {Catcher} */
const leavingNode = (title) => ({
  file: `${tests}/failover/leaving-nodes.test.ts`,
  title: `a node that reconfigure() takes out, non-sticky ${title}`,
});

/** @param {string} title @returns {Catcher} */
const restartedNode = (title) => ({
  file: `${tests}/failover/restarted-with-old-records.test.ts`,
  title: `a node that restarts at once with what it had saved before ${title}`,
});

/** @param {string} title @returns {Catcher} */
const emptiedNode = (title) => ({
  file: `${tests}/failover/emptied-nodes.test.ts`,
  title: `a node that is emptied while it runs (FLUSHALL) ${title}`,
});

/** @param {string} title @returns {Catcher} */
const forked = (title) => ({ file: `${tests}/failover/forked-versions.test.ts`, title });

/** @param {string} title @returns {Catcher} */
const modeSwitch = (title) => ({
  file: `${tests}/failover/mode-switch.test.ts`,
  title: `reconfigure({ mode }) while exchanges are open ${title}`,
});

/** @param {string} file @param {string} title @returns {Catcher} */
const renewals = (file, title) => ({ file: `${tests}/locking/${file}.test.ts`, title });

/**
 * The defects that the tests must catch. Those of one kind stand together: the kind, a slash, the place.
 * @type {readonly Mutant[]}
 */
export const mutants = [
  {
    name: "constant-token/leases",
    breaks: "every process holds every lease: two requests have the session to themselves at once",
    changes: [
      {
        file: `${core}/locking/leases.ts`,
        find: 'const newToken = () => randomText(18, "base64url");',
        replace: 'const newToken = () => "locked-locked-locked-locked";',
      },
    ],
    catchers: [twoHolders("non-sticky: nobody else is let in while a request has its session to itself")],
  },
  {
    name: "constant-token/memory",
    breaks: "the driver keeps that there is a lease, not whose it is",
    changes: [
      {
        file: memory,
        find: "this.#takeLease(key, options.lease);",
        replace: 'this.#takeLease(key, { ...options.lease, token: "locked" });',
      },
      {
        file: memory,
        find: "this.#freeLease(key, options.unlock);",
        replace: 'this.#freeLease(key, "locked");',
      },
      {
        file: memory,
        find: "return this.#freeLease(key, token);",
        replace: 'return this.#freeLease(key, "locked");',
      },
      {
        file: memory,
        find: "this.#leases.get(key)?.token === lease.token",
        replace: 'this.#leases.get(key)?.token === "locked"',
      },
    ],
    catchers: [
      contract("memory", "leases are taken with the record, and keep others from it"),
      contract("memory", "leases are renewed by their token only"),
    ],
  },
  {
    name: "constant-token/redis",
    breaks: "the driver keeps that there is a lease, not whose it is",
    needs: "redis-server",
    changes: [
      {
        file: redis,
        find: "const { token } = lease;",
        replace: 'const token = "locked";',
      },
      {
        file: redis,
        find: 'const token = options.unlock ?? "";',
        replace: 'const token = options.unlock === undefined ? "" : "locked";',
      },
      {
        file: redis,
        find: "leaseKey(key), lease.token, ttl);",
        replace: 'leaseKey(key), "locked", ttl);',
      },
      {
        file: redis,
        find: "new RedisCommand(redisScripts.unlock, 1, leaseKey(key), token)",
        replace: 'new RedisCommand(redisScripts.unlock, 1, leaseKey(key), "locked")',
      },
    ],
    catchers: [
      contract("redis", "leases are taken with the record, and keep others from it"),
      contract("redis", "leases are renewed by their token only"),
    ],
  },
  {
    name: "constant-token/memcached",
    breaks: "the driver keeps that there is a lease, not whose it is",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "const { lease, renewTtlMs } = options;",
        replace:
          'const { renewTtlMs } = options;\n      const lease = options.lease && { ...options.lease, token: "locked" };',
      },
      {
        file: memcached,
        find: "const { expect, unlock: token } = options;",
        replace: 'const { expect } = options;\n      const token = options.unlock && "locked";',
      },
      {
        file: memcached,
        find: "=> renewLease(connection, keys, lease));",
        replace: '=> renewLease(connection, keys, { ...lease, token: "locked" }));',
      },
      {
        file: memcached,
        find: "=> unlock(connection, keys, token));",
        replace: '=> unlock(connection, keys, "locked"));',
      },
    ],
    catchers: [
      contract("memcached", "leases are taken with the record, and keep others from it"),
      contract("memcached", "leases are renewed by their token only"),
    ],
  },
  {
    name: "unconditional-unlock/memory",
    breaks: "a process frees the lease that another took after its own had ended",
    changes: [
      {
        file: memory,
        find: "if (holder?.token !== token) return false;",
        replace: "if (holder === undefined) return false;",
      },
    ],
    catchers: [
      contract("memory", "leases are not freed by another token"),
      contract("memory", "leases of another stay, though a save names a token"),
    ],
  },
  {
    name: "unconditional-unlock/redis",
    breaks: "a process frees the lease that another took after its own had ended",
    needs: "redis-server",
    changes: [
      {
        file: redisScripts,
        find: "if not isHeld then return 0 end\n  redis.call('DEL', key)",
        replace: "if redis.call('DEL', key) == 0 then return 0 end",
      },
    ],
    catchers: [
      contract("redis", "leases are not freed by another token"),
      contract("redis", "leases of another stay, though a save names a token"),
    ],
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
    name: "unconditional-unlock/memcached-save",
    breaks: "a save frees the lease that the record was loaded with, whichever it names",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "if (token !== undefined && revision?.lease?.token === token) {",
        replace: "if (token !== undefined && revision?.lease) {",
      },
    ],
    catchers: [
      contract(
        "memcached",
        "leases stay where a save with the revision that they came with names another token",
      ),
    ],
  },
  {
    name: "unconditional-unlock/memcached-save-delete",
    breaks: "a save that gives its lease back deletes the one that another has by now",
    needs: "memcached",
    changes: [
      { file: memcached, find: "deleteIf(keys.lease, lease.cas)],", replace: "deleteIf(keys.lease, 0n)]," },
    ],
    catchers: [
      contract(
        "memcached",
        "leases that became another's stay, though a save would give back the one that the record was loaded with",
      ),
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
    catchers: [contract("memory", "save gives conflict where another version is there, and leaves it there")],
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
    name: "save-without-version/memcached-with-lease",
    breaks: "a save that gives its lease back replaces what another wrote since the session was loaded",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "replace(keys.record, write.record, write.ttlMs, revision.cas)",
        replace: "replace(keys.record, write.record, write.ttlMs, 0n)",
      },
    ],
    catchers: [
      contract("memcached", "leases stay where the save of the record that was loaded with them was refused"),
    ],
  },
  {
    name: "set-for-replace/memcached",
    breaks: "a record that is refused as too large takes the old one with it",
    needs: "memcached",
    changes: [
      {
        file: `${core}/storage/memcached-binary.ts`,
        find: "  replace: opcode.replace,",
        replace: "  replace: opcode.set,",
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
        find: 'if (reply.status === "notFound") return { kind: "gone" };',
        replace: 'if (reply.status === "notFound") return create(connection, keys, { record, ttlMs });',
      },
    ],
    catchers: [contract("memcached", "save gives gone where the record's time was over since it was loaded")],
  },
  {
    name: "set-for-replace/memcached-meta",
    breaks: "a record that is refused as too large, or for want of memory, takes the old one with it",
    needs: "memcached",
    changes: [
      {
        file: memcachedMeta,
        find: ": write(`cas ",
        replace: ": write(`set ",
      },
    ],
    catchers: [
      {
        file: `${tests}/storage-memcached-meta.test.ts`,
        title: "meta protocol keeps the old record where a new one is too large",
      },
      {
        file: `${tests}/storage-memcached-meta.test.ts`,
        title: "meta protocol keeps a record where there is no memory for what should replace it",
      },
    ],
  },
  {
    name: "save-without-version/memcached-meta",
    breaks:
      "the CAS id of what another wrote in between is taken for that of the own record, and overwrites it next time",
    changes: [
      {
        file: memcachedMeta,
        find: "? casIn(tokens) : undefined;",
        replace: "? casIn(tokens) : casIn(tokens);",
      },
    ],
    catchers: [
      {
        file: `${core}/storage/memcached-meta.test.ts`,
        title: "give no CAS id for what was written and is replaced since",
      },
    ],
  },
  {
    name: "anothers-value/memcached-meta",
    breaks:
      "a reply is given to whoever waits first, whichever request it answers: one user gets another's session",
    changes: [
      {
        file: memcachedMeta,
        find: 'if (!tokens.includes(opaque)) throw nonsense("a reply answers another request");',
        replace: 'if (opaque === "" || tokens.length === 0) return;',
      },
    ],
    catchers: [
      {
        file: `${core}/storage/memcached-meta.test.ts`,
        title: "give every request its own value or none, whatever becomes of replies on their way",
      },
    ],
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
        find: "const before = wasAnnounced\n",
        replace: 'const before = wasAnnounced && live.identity.id === ""\n',
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
        file: burials,
        find: "const isTaken = await node.run((storage) => storage.putIfNewer(key, bytes, ttlMs));",
        replace: "const isTaken = (await node.run((storage) => storage.touch(key, 1))) || bytes.length > 0;",
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
        file: burials,
        find: "[...ring.nodes, ...ring.leaving].map(async (node) => {\n        const end = await this.#buryOn",
        replace:
          "[ring.place(identity.digest)].map(async (node) => {\n        const end = await this.#buryOn",
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
        file: recordWriter,
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
        file: recordWriter,
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
        find: "if (!isSealOf(mac(key.mac, identity, bytes), bytes)) {",
        replace: "if (mac(key.mac, identity, bytes).length !== macBytes) {",
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
    changes: [
      {
        file: `${core}/session/record.ts`,
        find: "const parts = [identity.digest, {",
        replace: "const parts = [{",
      },
    ],
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
        find: "const key = parts && macKeys.find((each) => verifies(parts, each));",
        replace: "const key = parts && macKeys[0];",
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
        file: nodeReader,
        find: "(thrown: unknown) => unknownFrom(node, thrown),",
        replace: '() => ({ kind: "absent", node }),',
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
        file: nodeReader,
        find: "isUnasked(node) && node.mayHoldRecords",
        replace: "isUnasked(node) && false",
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
    name: "add-retried-without-compare/memcached-locked-by-itself",
    breaks: "who took the lease and lost the reply waits for its own lease to end",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "if (holder && holder.token !== lease.token) {",
        replace: 'if (holder && holder.token !== "") {',
      },
    ],
    catchers: [contract("memcached", "leases are had again by their own token, whose reply was lost")],
  },
  {
    name: "add-retried-without-compare/memcached-taken-over",
    breaks: "an ADD that says there is a lease already is taken for the own one of a try before",
    needs: "memcached",
    changes: [
      {
        file: memcached,
        find: "if (holder && holder.token !== lease.token) {",
        replace: 'if (holder && holder.token === "") {',
      },
    ],
    catchers: [contract("memcached", "leases are taken with the record, and keep others from it")],
  },
  {
    name: "add-retried-without-compare/memcached-record",
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
  {
    name: "add-retried-without-compare/redis-locked-by-itself",
    breaks: "who took the lease and lost the reply waits for its own lease to end",
    needs: "redis-server",
    changes: [{ file: redisScripts, find: "if holder and not isHeld then", replace: "if holder then" }],
    catchers: [contract("redis", "leases are had again by their own token, whose reply was lost")],
  },
  {
    name: "add-retried-without-compare/redis-taken-over",
    breaks: "another's lease is taken for the own one of a try before",
    needs: "redis-server",
    changes: [{ file: redisScripts, find: "if holder and not isHeld then", replace: "if holder == '' then" }],
    catchers: [contract("redis", "leases are taken with the record, and keep others from it")],
  },
  {
    name: "lock-wait-falling-through/timeout",
    breaks: "who waited for its session in vain goes on without the lock, and nobody is told",
    changes: [
      {
        file: `${core}/life-cycle/lock-or-not.ts`,
        find: '    if (outcome === "refused") throw error;\n',
        replace: "",
      },
    ],
    catchers: [
      twoHolders(
        "non-sticky: who waits longer than lockTimeoutMs is refused, and not let in without the lock",
      ),
      twoHolders("sticky: who waits longer than lockTimeoutMs is refused, and not let in without the lock"),
    ],
  },
  {
    name: "lock-wait-falling-through/by-hand",
    breaks: "`session.lock()` resolves without the lock where it was waited for in vain",
    changes: [
      {
        file: `${core}/life-cycle/request-exchange.ts`,
        find: "      this.#noteLockTimeout(error);\n      throw error;\n",
        replace: "      this.#noteLockTimeout(error);\n      return undefined;\n",
      },
    ],
    catchers: [
      twoHolders(
        "non-sticky: lock() rejects where it was waited for in vain, and does not go on without the lock",
      ),
      twoHolders(
        "sticky: lock() rejects where it was waited for in vain, and does not go on without the lock",
      ),
    ],
  },
  {
    name: "lock-wait-falling-through/queue",
    breaks: "the first who would have to wait in its process does not",
    changes: [
      {
        file: `${core}/locking/lock-queue.ts`,
        find: "    if (line === undefined) {",
        replace: "    if (line === undefined || line.length === 0) {",
      },
    ],
    catchers: [twoHolders("sticky: nobody else is let in while a request has its session to itself")],
  },
  {
    name: "lock-wait-falling-through/lease",
    breaks: "a session whose lease another process holds is loaded without it",
    changes: [
      {
        file: nodeReader,
        find: ".run((storage) => storage.load(key, options))",
        replace:
          '.run(async (storage) => {\n        const loaded = await storage.load(key, options);\n        return loaded.kind === "locked" ? storage.load(key) : loaded;\n      })',
      },
    ],
    catchers: [twoHolders("non-sticky: nobody else is let in while a request has its session to itself")],
  },
  {
    name: "leaving-node-forgotten/not-read",
    breaks: "who replaces all nodes at once logs everybody out",
    changes: [
      {
        file: `${core}/failover/ring.ts`,
        find: "return [...this.candidates(hint), ...this.leaving];",
        replace: "return this.candidates(hint);",
      },
    ],
    catchers: [
      leavingNode("is read for sessions that only it has, and which move to a member with their next use"),
    ],
  },
  {
    name: "leaving-node-forgotten/no-tombstone",
    breaks:
      "a session that was destroyed is found on a node that is leaving, once its tombstone is gone elsewhere",
    changes: [
      {
        file: burials,
        find: "[...ring.nodes, ...ring.leaving].map(async (node) => {\n        const end = await this.#buryOn",
        replace: "ring.nodes.map(async (node) => {\n        const end = await this.#buryOn",
      },
    ],
    catchers: [leavingNode("gets the end of sessions, also later where it does not answer at the time")],
  },
  {
    name: "leaving-node-forgotten/believed-again",
    breaks: "a node that comes back into the ring serves what sessions were when it was taken out",
    changes: [
      {
        file: `${core}/failover/ring-node.ts`,
        find: "    this.#leftMs = undefined;\n    this.#suspect();\n",
        replace: "    this.#leftMs = undefined;\n",
      },
    ],
    catchers: [leavingNode("is not believed blindly when it is a member again")],
  },
  {
    name: "restart-unnoticed/first-answer",
    breaks: "a node that restarts with what it had saved before serves that until its next probe",
    changes: [
      {
        file: `${core}/failover/ring-node.ts`,
        find: 'if (this.#noteRun("operation", this.#storage.run)) this.mayHaveLostRecords();',
        replace: 'this.#noteRun("operation", this.#storage.run);',
      },
    ],
    catchers: [restartedNode("is not believed from its first answer on")],
  },
  {
    name: "restart-unnoticed/lease",
    breaks: "the lease of a node that restarted makes its old record be believed",
    changes: [
      {
        file: `${core}/failover/record-search.ts`,
        find: 'if (answer?.kind === "found" && this.#isBelieved(answer, key)) return foundOrEnded(answer);\n    if (answer?.kind === "locked")',
        replace:
          'if (answer?.kind === "found") return foundOrEnded(answer);\n    if (answer?.kind === "locked")',
      },
    ],
    catchers: [
      restartedNode("is not believed where it gives the lease with its record, and gives none to keep"),
    ],
  },
  {
    name: "emptied-unnoticed/by-others",
    breaks:
      "only the process that finds nothing at all on a node that was emptied backs its sessions up again",
    changes: [
      {
        file: `${core}/failover/emptied-nodes.ts`,
        find: "known !== undefined && mark !== known",
        replace: "known !== undefined && mark === undefined",
      },
    ],
    catchers: [emptiedNode("sticky: gets the backups of each process again, within a moment")],
  },
  {
    name: "emptied-unnoticed/by-all",
    breaks:
      "sticky sessions are without their backup, and others without their copy, once a node was emptied",
    changes: [
      {
        file: `${core}/failover/emptied-nodes.ts`,
        find: "node.mayHaveLostRecords()",
        replace: "await node.answers()",
      },
    ],
    catchers: [
      emptiedNode("sticky: gets the backups of each process again, within a moment"),
      emptiedNode("non-sticky: gets the copy of a session that is only read again with its next use"),
    ],
  },
  {
    name: "fork-overwritten/higher-number",
    breaks:
      "a version that was put over an acknowledged one is taken for its successor, as its number is higher",
    changes: [
      {
        file: recordWriter,
        find: "(isWriteIn(primary.record, bytes) || isFarBehind(bytes, primary.record))",
        replace: "primary.record.ancestors.length < Number.POSITIVE_INFINITY",
      },
    ],
    catchers: [
      forked(
        "a save on its node, and one that went elsewhere, both stand where the node gets the one that it missed",
      ),
      forked("a save that went elsewhere stands where the next save on its node is copied over it"),
    ],
  },
  {
    name: "fork-overwritten/not-compared",
    breaks: "a save that goes elsewhere overwrites what was saved on nodes that it was not meant for",
    changes: [
      {
        file: recordWriter,
        find: 'answer.kind === "found" && isNews(answer, request)',
        replace: 'answer.kind === "found" && isNews(answer, request) && answer.record.version === ""',
      },
    ],
    catchers: [
      forked("a save that goes elsewhere overwrites nothing that is on the nodes which it does not go to"),
    ],
  },
  {
    name: "fork-overwritten/ancestors-unnamed",
    breaks: "a version does not say what it contains: its forerunner is merged into it once more",
    changes: [
      {
        file: `${core}/session/record.ts`,
        find: 'into.write(all, ancestorsAt, "hex");',
        replace: "into.fill(0, ancestorsAt, sealKindAt);",
      },
    ],
    catchers: [
      {
        file: `${core}/session/record.test.ts`,
        title: "a record names the last of the versions that it contains",
      },
    ],
  },
  {
    name: "fork-overwritten/met-late",
    breaks: "what a session meets late pushes the newest of its versions out of those that its records name",
    changes: [
      {
        file: `${core}/session/lineage.ts`,
        find: "if (beside.length === 0) return [...before, ...theirs];",
        replace:
          "if (beside.length === 0) return [...theirs.slice(0, -1).filter((each) => !mine.includes(each)), ...mine, ...theirs.slice(-1)];",
      },
    ],
    catchers: [
      forked(
        "a copy that comes late changes nothing, though a request that met another's save has gone on from there since",
      ),
      {
        file: `${core}/session/live-session.test.ts`,
        title: "are in the order in which they came, the newest last, whichever it met late",
      },
    ],
  },
  {
    name: "mode-switch/former-exchanges-not-told-of",
    breaks: "what an exchange of the former mode saved is not seen in memory, and overwritten",
    changes: [
      {
        file: `${core}/life-cycle/modes.ts`,
        find: "for (const mode of this.#formers) mode.endWith(next);",
        replace: "",
      },
    ],
    catchers: [
      modeSwitch("lets an exchange end in non-sticky mode; what it saves is seen in sticky mode"),
      modeSwitch("ends a session in the one mode for the other"),
    ],
  },
  {
    name: "mode-switch/not-handed-over",
    breaks:
      "a request finds on the nodes what a session was before the last answer, or has it beside who locked it",
    changes: [
      {
        file: `${core}/life-cycle/modes.ts`,
        find: "for (const mode of this.#formers) await mode.handOver(identity, hint, waiting);",
        replace: "",
      },
    ],
    catchers: [
      modeSwitch("lets an exchange end in sticky mode; what it saves is seen in non-sticky mode"),
      modeSwitch("keeps a session locked for the request that has it, from non-sticky to sticky"),
    ],
  },
  {
    name: "renewal-beside-saves/answer-from-before",
    breaks:
      "what a node said before a save is merged after it: what was acknowledged under the old id gives way to what was before",
    changes: [
      {
        file: `${core}/life-cycle/bury.ts`,
        find: 'result.kind === "newer" && live.stored === stored',
        replace: 'result.kind === "newer"',
      },
    ],
    catchers: [
      renewals(
        "renewals-and-saves",
        "a save under the old id that the end of it meets on the node counts, and so does the next one, which the node had not yet when it was asked",
      ),
    ],
  },
  {
    name: "renewal-beside-saves/own-save-unknown",
    breaks: "a save whose answer is yet to come is taken for another process', and its request refused",
    changes: [
      {
        file: `${core}/session/live-session.ts`,
        find: "this.#underWay?.has(each) || ",
        replace: "",
      },
    ],
    catchers: [
      renewals(
        "renewals-and-saves",
        "a save under the old id that the end of it meets on the node is no conflict with itself, though its answer is yet to come",
      ),
    ],
  },
  {
    name: "renewal-beside-saves/refused-untold",
    breaks: "what goes along to the new id and gives way there is acknowledged",
    changes: [
      {
        file: `${core}/life-cycle/request-exchange.ts`,
        find: "next.adopt(merged)",
        replace: "next.rebase(merged)",
      },
    ],
    catchers: [
      renewals(
        "renewals-and-saves",
        "what goes along and meets another process' change of the same under the new id is refused, and its request is told so",
      ),
    ],
  },
  {
    name: "renewal-beside-saves/taken-along-twice",
    breaks:
      "of two renewals at once, the one that gives way brings back what the other's session has gone on from",
    changes: [
      {
        file: `${core}/life-cycle/request-exchange.ts`,
        find: "this.#goOnWith(ending.by, ending.base, next.table)",
        replace: "this.#goOnWith(ending.by, renewal.base, next.table)",
      },
    ],
    catchers: [
      renewals(
        "renewals-at-once",
        "plain renewals of the id and other requests at once, sticky overwrite nothing under the id that stands with what the other one had taken along",
      ),
    ],
  },
  {
    name: "renewal-beside-saves/put-back",
    breaks: "a request puts back its value that another had replaced, and a third one's commit had taken",
    changes: [
      {
        file: `${core}/session/session-view.ts`,
        find: " && !this.live.isFoldedSince(name, mark.moment)",
        replace: "",
      },
    ],
    catchers: [
      renewals(
        "shared-values",
        "what one request of a sticky session gives up brings no earlier value back once its value was committed with another's",
      ),
    ],
  },
];
