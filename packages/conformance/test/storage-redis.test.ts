import { needsProgram, redisCommand, startServer, storageContract } from "@msm/conformance";
import { redisStorage } from "@msm/core";

const { skip, reason } = needsProgram("redis-server");

storageContract(
  `redis${reason}`,
  async () => {
    const server = await startServer(redisCommand());
    const url = `redis://${server.host}:${server.port}`;
    const storage = redisStorage({ url });
    const other = redisStorage({ url });
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
