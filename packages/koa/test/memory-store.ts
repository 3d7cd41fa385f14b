import type { SessionStore, StoredData } from "@msm/koa";

/** A koa-session store in memory, which keeps text as real ones do, and notes how it is called. */
export class MemoryStore implements SessionStore {
  readonly stored = new Map<string, string>();
  readonly calls: { readonly method: string; readonly id: string; readonly args: readonly unknown[] }[] = [];
  /** What is thrown from now on. */
  failure: Error | undefined;
  /** What a call waits for. */
  gate: Promise<void> | undefined;

  async get(id: string, ...args: unknown[]): Promise<unknown> {
    await this.#note("get", id, args);
    const text = this.stored.get(id);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async set(id: string, data: StoredData, ...args: unknown[]): Promise<void> {
    await this.#note("set", id, args);
    this.stored.set(id, JSON.stringify(data));
  }

  async destroy(id: string, ...args: unknown[]): Promise<void> {
    await this.#note("destroy", id, args);
    this.stored.delete(id);
  }

  /** What is stored of the only session. */
  get only(): Record<string, unknown> {
    return JSON.parse([...this.stored.values()][0] ?? "null");
  }

  async #note(method: string, id: string, args: unknown[]): Promise<void> {
    this.calls.push({ method, id, args });
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
  }
}
