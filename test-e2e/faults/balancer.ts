import type { App } from "./bench.js";

/**
 * Decides which application process gets a request: the one that the cookie names (sticky), or one after the other. As
 * with health checks that miss nothing, those that are out of rotation get none.
 */
export class Balancer {
  readonly #apps: readonly App[];
  readonly #isSticky: boolean;
  #turn = 0;

  constructor(apps: readonly App[], isSticky: boolean) {
    this.#apps = apps;
    this.#isSticky = isSticky;
  }

  /** @returns who serves a client whose cookie bears this route; undefined where no process is in rotation */
  appFor(route: string | undefined): App | undefined {
    const own = this.#apps.find(({ name, isInRotation }) => name === route && isInRotation);
    return this.#isSticky && own !== undefined ? own : this.#next();
  }

  /** @returns any process in rotation but this one; undefined where there is none */
  otherThan(app: App): App | undefined {
    return this.#apps.find((other) => other !== app && other.isInRotation);
  }

  #next(): App | undefined {
    const inRotation = this.#apps.filter(({ isInRotation }) => isInRotation);
    this.#turn += 1;
    return inRotation[this.#turn % inRotation.length];
  }
}
