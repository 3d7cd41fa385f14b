import { request } from "node:http";
import type { AppAddress, AppPool } from "./app-pool.js";

const everyMs = 400;
const timeoutMs = 1000;
// A process that is busy for a second is not dead. One that refuses connections is.
const timeoutsUntilSilent = 2;

/** Asks all processes over and over how they are, and tells the pool. */
export class HealthChecks {
  readonly #pool: AppPool;
  readonly #timers = new Set<NodeJS.Timeout>();
  #isClosed = false;

  constructor(apps: readonly AppAddress[], pool: AppPool) {
    this.#pool = pool;
    for (const app of apps) this.#watch(app, 0);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #watch(app: AppAddress, timeoutsBefore: number): void {
    check(app).then(
      () => {
        if (this.#isClosed) return;
        this.#pool.markUp(app.name);
        this.#watchLater(app, 0);
      },
      (error: Error) => {
        if (this.#isClosed) return;
        const timeouts = error === timedOut ? timeoutsBefore + 1 : 0;
        if (error !== timedOut) this.#pool.markDown(app.name, error.message);
        else if (timeouts >= timeoutsUntilSilent) this.#pool.markSilent(app.name, error.message);
        this.#watchLater(app, timeouts);
      },
    );
  }

  #watchLater(app: AppAddress, timeouts: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#watch(app, timeouts);
    }, everyMs);
    this.#timers.add(timer);
  }
}

const timedOut = new Error("it does not answer");

function check({ host, port }: AppAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const asking = request({ host, port, path: "/health", agent: false, timeout: timeoutMs }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`its /health says ${response.statusCode}`));
    });
    asking.on("timeout", () => asking.destroy(timedOut));
    asking.on("error", reject);
    asking.end();
  });
}
