import type { Storage } from "@msm/core";

/** A storage whose saves never settle after the first `most`: so that endless saving does not block the test. */
export function boundedSaves(inner: Storage, most: number, count: { saves: number }): Storage {
  return {
    kind: inner.kind,
    load: (...args) => inner.load(...args),
    save: (...args) => (++count.saves > most ? new Promise(() => {}) : inner.save(...args)),
    putIfNewer: (...args) => inner.putIfNewer(...args),
    touch: (...args) => inner.touch(...args),
    renewLease: (...args) => inner.renewLease(...args),
    unlock: (...args) => inner.unlock(...args),
    ping: () => inner.ping(),
    close: () => inner.close(),
  };
}
