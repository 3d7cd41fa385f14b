import { storageContract } from "@msm/conformance";
import { memoryStorage } from "@msm/core";

storageContract(
  "memory",
  async () => {
    const storage = memoryStorage();
    return { storage, other: storage, close: () => storage.close() };
  },
  { onRelease: true },
);
