/** What a request holds that has its session to itself, and that it must let go of. */
export interface SessionLock {
  /** False once it was let go of, or ended before the request did. */
  readonly isHeld: boolean;
  /**
   * The token of the lease that a save on this node shall give back together with the record. Undefined where there is
   * nothing to give back there: the lease is elsewhere, is lost, or goes to the next request of this process.
   */
  tokenFor(node: string): string | undefined;
  /** Notes that a save gave the lease back. */
  noteGivenBack(): void;
  /** Lets the next one in. Resolves when a lease that had to be given back was, or could not be. Safe to call twice. */
  release(): Promise<void>;
}
