import { freshKey, needsProgram, storageContract, testRecord } from "@msm/conformance";
import { redisStorage } from "@msm/core";
import { startCluster } from "./deployments.js";

const { skip, reason } = needsProgram("redis-server");

storageContract(
  `redis cluster${reason}`,
  async () => {
    const cluster = await startCluster();
    const client = () => redisStorage({ url: cluster.url, operationTimeoutMs: 5000 });
    const [storage, other] = [client(), client()];
    return {
      storage,
      other,
      async close() {
        await Promise.all([storage.close(), other.close()]);
        await cluster.close();
      },
    };
  },
  { skip, onRelease: true },
);
