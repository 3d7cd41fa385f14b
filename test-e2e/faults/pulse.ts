import { pause } from "@msm/conformance";
import { askWorker } from "../processes/http-answer.js";
import type { App } from "./bench.js";

const everyMs = 200;

/**
 * Asks processes for a page without a session, again and again: what that takes is the machine's doing, and what all
 * other requests take longer is ours.
 */
export class Pulse {
  /** What such a page took at most, in milliseconds, of those that were answered. */
  slowestMs = 0;
  readonly #apps: readonly App[];
  #isOver = false;
  #beating: Promise<unknown> | undefined;

  constructor(apps: readonly App[]) {
    this.#apps = apps;
  }

  start(): void {
    this.#beating = Promise.all(this.#apps.map((app) => this.#beat(app)));
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#beating;
  }

  async #beat(app: App): Promise<void> {
    while (!this.#isOver) {
      const startedMs = performance.now();
      const wasThere = app.isInRotation;
      const answer = await askWorker(app.line, {
        ...{ method: "GET", path: "/plain", cookie: undefined, patienceMs: 15_000 },
      });
      // One that was stopped meanwhile was slow by itself.
      const counts = wasThere && app.isInRotation && answer.kind === "whole";
      if (counts) this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs);
      await pause(everyMs);
    }
  }
}
