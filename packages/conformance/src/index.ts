export { type Direction, type Ending, type FaultProxy, startFaultProxy } from "./fault-proxy.js";
export { type FaultyStorage, faulty, type StorageCall, type StorageVerb } from "./faulty.js";
export {
  freshKey,
  freshToken,
  payloadOf,
  type TestRecordParts,
  testRecord,
  versionDigits,
} from "./records.js";
export {
  findProgram,
  freePort,
  memcachedCommand,
  needsProgram,
  redisCommand,
  type ServerCommand,
  startServer,
  type TestServer,
} from "./servers.js";
export { type StorageContractOptions, type StorageUnderTest, storageContract } from "./storage-contract.js";
export { pause, waitUntil } from "./wait-until.js";
