import { pause } from "@msm/conformance";
import { askWorker } from "../processes/http-answer.js";
import type { App } from "./bench.js";

const everyMs = 200;

/** A page that was asked for and answered; monotonic milliseconds. */
export interface Beat {
  readonly app: string;
  readonly startedMs: number;
  readonly endedMs: number;
}

/**
 * Asks processes for a page without a session, again and again: what that takes is the machine's doing, and what all
 * other requests take longer is ours.
 */
export class Pulse {
  /** The pages that were answered; of one process, in the order of their ends. */
  readonly beats: Beat[] = [];
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
      const answer = await askWorker(app.line, {
        ...{ method: "GET", path: "/plain", cookie: undefined, patienceMs: 15_000 },
      });
      if (answer.kind === "whole") {
        this.beats.push({ app: app.name, startedMs, endedMs: performance.now() });
      }
      await pause(everyMs);
    }
  }
}
