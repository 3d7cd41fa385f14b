import { memcachedCommand, needsProgram, startServer, storageContract } from "@msm/conformance";
import { memcachedStorage } from "@msm/core";

const { skip, reason } = needsProgram("memcached");

storageContract(
  `memcached${reason}`,
  async () => {
    const server = await startServer(memcachedCommand());
    const storage = memcachedStorage(server);
    const other = memcachedStorage(server);
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
