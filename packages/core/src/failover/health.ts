/** What is thought of a node. */
export interface NodeHealth {
  readonly id: string;
  readonly kind: string;
  /** "suspect": it answers again, but what it holds may be older than its copies. */
  readonly state: "up" | "suspect" | "down";
  /** Milliseconds since it went down; undefined where it is not down. */
  readonly downMs: number | undefined;
}
