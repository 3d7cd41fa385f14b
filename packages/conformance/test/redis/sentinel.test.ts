import { needsProgram, storageContract } from "@msm/conformance";
import { redisStorage } from "@msm/core";
import { startSentinels } from "./deployments.js";

const { skip, reason } = needsProgram("redis-server");

storageContract(
  `redis behind sentinels${reason}`,
  async () => {
    const deployment = await startSentinels();
    const client = () => redisStorage({ url: deployment.url, operationTimeoutMs: 5000 });
    const [storage, other] = [client(), client()];
    return {
      storage,
      other,
      async close() {
        await Promise.all([storage.close(), other.close()]);
        await deployment.close();
      },
    };
  },
  { skip, onRelease: true },
);
