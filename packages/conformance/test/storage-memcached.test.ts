import {
  memcachedCommand,
  needsProgram,
  startServer,
  storageContract,
  storageFaults,
} from "@msm/conformance";
import { memcachedStorage } from "@msm/core";
import { memcachedAsAStorage } from "./memcached-as-a-storage.js";

const { skip, reason } = needsProgram("memcached");

storageContract(
  `memcached${reason}`,
  async () => {
    const server = await startServer(memcachedCommand());
    // A busy machine must not look like a slow server here; deadlines are the faults' matter.
    const patient = { host: server.host, port: server.port, operationTimeoutMs: 5000 };
    const storage = memcachedStorage(patient);
    const other = memcachedStorage(patient);
    return {
      storage,
      other,
      async close() {
        await Promise.all([storage.close(), other.close()]);
        await server.close();
      },
    };
  },
  { skip },
);

storageFaults(`memcached${reason}`, {
  skip,
  startServer: () => startServer(memcachedCommand()),
  createStorage: memcachedStorage,
});

memcachedAsAStorage("binary");
