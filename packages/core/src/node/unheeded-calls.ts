/**
 * The calls of one request's session that give a promise: applications call `session.destroy()` and look no further. An answer
 * waits for such calls, and must not be sent as if they had worked.
 */
export class UnheededCalls {
  readonly #calls = new Set<NotingPromise>();

  /** Notes a call. @returns its outcome, for whoever called; where nobody looks at it, that does not end the process */
  note(outcome: Promise<void>): Promise<void> {
    const call = new NotingPromise((resolve, reject) => {
      outcome.then(() => resolve(undefined), reject);
    });
    void call.failure();
    this.#calls.add(call);
    return call;
  }

  /** Waits for calls that are under way. Rejects with an error that nobody looked at. */
  async settle(): Promise<void> {
    for (const call of this.#calls) {
      const error = await call.failure();
      this.#calls.delete(call);
      if (error !== undefined && !call.isHeeded) throw error.thrown;
    }
  }
}

/** Knows whether anybody waits for it: `await`, too, calls `then()` of what is not a plain promise. */
class NotingPromise extends Promise<undefined> {
  /** What comes of it is a plain promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  isHeeded = false;

  // biome-ignore lint/suspicious/noThenProperty: it is a promise, and `await` asks for it
  override then<A = undefined, B = never>(
    onDone?: ((value: undefined) => A | PromiseLike<A>) | null,
    onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isHeeded = true;
    return super.then(onDone, onFailed);
  }

  failure(): Promise<{ readonly thrown: unknown } | undefined> {
    return super.then(
      () => undefined,
      (thrown: unknown) => ({ thrown }),
    );
  }
}
