export {
  type AdapterContractOptions,
  type AdapterGiven,
  type AdapterUnderTest,
  adapterContract,
  adapterRoutes,
} from "./adapter-contract.js";
export {
  type Cluster,
  type ClusterOptions,
  cluster,
  type TestClient,
  testClient,
  type Visit,
} from "./cluster.js";
export { codecContract } from "./codec-contract.js";
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
export {
  Exchanges,
  type FaultTally,
  newTally,
  type Outcome,
  outcomeOf,
  type StorageAddress,
  type StorageFaultsOptions,
  storageFaults,
} from "./storage-faults.js";
export { type TestClock, testClock } from "./test-clock.js";
export { pause, waitUntil } from "./wait-until.js";
