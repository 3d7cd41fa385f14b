import type { Mode } from "../history/policies.js";
import type { WorkerProcess } from "./worker-process.js";

/** Decides which worker gets a request. Knows at once which of them are stopped or dead, as health checks would. */
export interface Balancer {
  /** The worker for a client whose cookie bears this route. @throws Error where no worker is in rotation */
  workerFor(route: string | undefined): WorkerProcess;
  /** Any worker but this one. @throws Error where no other is in rotation */
  otherThan(worker: WorkerProcess): WorkerProcess;
}

/** How often a sticky balancer sends a request elsewhere though the client's worker lives. */
const flipShare = 0.01;

/** Sends each client to the worker that its cookie names (sticky), or each request to any worker. */
export function createBalancer(mode: Mode, workers: readonly WorkerProcess[]): Balancer {
  return {
    workerFor(route) {
      const own = workers.find(({ name, isInRotation }) => name === route && isInRotation);
      return mode === "sticky" && own !== undefined && Math.random() >= flipShare ? own : anyOf(workers);
    },
    otherThan: (worker) => anyOf(workers.filter((other) => other !== worker)),
  };
}

function anyOf(workers: readonly WorkerProcess[]): WorkerProcess {
  const inRotation = workers.filter((worker) => worker.isInRotation);
  const chosen = inRotation[Math.floor(Math.random() * inRotation.length)];
  if (chosen === undefined) throw new Error("no worker is in rotation");
  return chosen;
}
