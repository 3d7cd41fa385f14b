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
  `memcached meta${reason}`,
  async () => {
    const server = await startServer(memcachedCommand());
    const patient = {
      host: server.host,
      port: server.port,
      operationTimeoutMs: 5000,
      protocol: "meta",
    } as const;
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

storageFaults(`memcached meta${reason}`, {
  skip,
  startServer: () => startServer(memcachedCommand()),
  createStorage: (address) => memcachedStorage({ ...address, protocol: "meta" }),
});

memcachedAsAStorage("meta");
