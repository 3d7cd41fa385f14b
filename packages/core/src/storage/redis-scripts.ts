import { hash } from "node:crypto";

/*
 * What has to happen in one step on a Redis server. The scripts read the fixed fields of `record-prefix.ts`; their
 * offsets count from 1 in Lua's strings, from 0 in GETRANGE. Lua compares the strings, and so the numbers.
 * KEYS: 1 the record, 2 its lease, or the one that the script needs. A lease that is not needed is not named: while a
 * cluster moves a slot, commands on two keys have to wait for both (TRYAGAIN), those on one are carried out.
 *
 * A lease's value is the token of who holds it, and an exclamation mark once somebody was refused it.
 */

/** Where the key of a lease is published that was given back after somebody was refused it. */
export const releaseChannel = "msm:released";

/**
 * For the scripts below: whether the token holds the lease, and whether it is wanted; and giving it back. Where the user
 * may not publish, the lease is free all the same.
 */
const leases = `
local function holds(holder, token)
  return holder == token or holder == token .. '!', holder == token .. '!'
end
local function release(key, token)
  local isHeld, isWanted = holds(redis.call('GET', key), token)
  if not isHeld then return 0 end
  redis.call('DEL', key)
  if isWanted then redis.pcall('PUBLISH', '${releaseChannel}', key) end
  return 1
end
`;

/**
 * ARGV: lease token or "", lease TTL, renewed TTL or 0. Gives {0} absent, {1, ms} locked, {2, record, 1 where the token's
 * lease was wanted} found. The mark of who is refused is no more than a hint: where memory is full, it is left out. A server
 * that takes no writes for the moment gives the record all the same, with what is left of its life.
 */
const load = `${leases}
local record = redis.call('GET', KEYS[1])
if not record then return {0} end
if string.sub(record, 3, 18) == 'ffffffffffffffff' then return {2, record} end
local wanted = 0
if ARGV[1] ~= '' then
  local holder = redis.call('GET', KEYS[2])
  local isHeld, isWanted = holds(holder, ARGV[1])
  if holder and not isHeld then
    local left = redis.call('PTTL', KEYS[2])
    if left > 0 and string.sub(holder, -1) ~= '!' then redis.pcall('SET', KEYS[2], holder .. '!', 'PX', left) end
    return {1, left}
  end
  if isWanted then wanted = 1 end
  redis.call('SET', KEYS[2], holder or ARGV[1], 'PX', ARGV[2])
end
if ARGV[3] ~= '0' then
  local ttl = ARGV[3]
  local idle = string.sub(record, 35, 46)
  if string.find(idle, '^%x+$') and tonumber(idle, 16) > 0 then ttl = tonumber(idle, 16) end
  local renewed = redis.pcall('PEXPIRE', KEYS[1], ttl)
  local refusal = type(renewed) == 'table' and renewed.err
  if refusal and not (string.find(refusal, 'MISCONF') or string.find(refusal, 'NOREPLICAS')) then return renewed end
end
return {2, record, wanted}
`;

/**
 * ARGV: expected version, or "" for none; record, TTL, token of the lease to give back or "". Gives 0 stored, 1 conflict,
 * 2 gone. A record with the same writeId is our own: its reply was lost.
 */
const save = `${leases}
local current = redis.call('GETRANGE', KEYS[1], 2, 33)
if current == '' or string.sub(current, 17) ~= string.sub(ARGV[2], 19, 34) then
  local version = string.sub(current, 1, 16)
  if current == '' and ARGV[1] ~= '' then return 2 end
  if version ~= ARGV[1] or version == 'ffffffffffffffff' then return 1 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
if ARGV[4] ~= '' then release(KEYS[2], ARGV[4]) end
return 0
`;

/** ARGV: record, TTL. Gives 1 where it was written. */
const putIfNewer = `
local version = redis.call('GETRANGE', KEYS[1], 2, 17)
if version ~= '' and version >= string.sub(ARGV[1], 3, 18) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

/** KEYS: the lease. ARGV: token, TTL. Gives 1 where the token holds it. */
const renewLease = `${leases}
if holds(redis.call('GET', KEYS[1]), ARGV[1]) then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
`;

/** KEYS: the lease. ARGV: token. Gives 1 where the token held it. */
const unlock = `${leases}
return release(KEYS[1], ARGV[1])
`;

/** A script, and the digest by which Redis knows it once it was sent. */
export interface RedisScript {
  readonly lua: string;
  readonly sha1: string;
}

const script = (lua: string): RedisScript => ({ lua, sha1: hash("sha1", lua, "hex") });

export const redisScripts = {
  load: script(load),
  save: script(save),
  putIfNewer: script(putIfNewer),
  renewLease: script(renewLease),
  unlock: script(unlock),
};
