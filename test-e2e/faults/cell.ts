/** What a row is run on: which servers hold the sessions, and how. */
export interface Cell {
  readonly storage: "memcached" | "redis";
  /**
   * - "sticky": msm's defaults, the response waits for the backup
   * - "sticky-async": the response does not wait for it
   * - "non-sticky": with `locking: "all"`
   */
  readonly mode: "sticky" | "sticky-async" | "non-sticky";
}

/** The program that a cell's nodes are. */
export const programs = { memcached: "memcached", redis: "redis-server" } as const;

/** All cells, in the order in which they are run. */
export const cells: readonly Cell[] = (["memcached", "redis"] as const).flatMap((storage) =>
  (["sticky", "sticky-async", "non-sticky"] as const).map((mode) => ({ storage, mode })),
);

/** How a cell is written: "redis/sticky". */
export const nameOf = ({ storage, mode }: Cell): string => `${storage}/${mode}`;

/** True where the sessions live in the application processes. */
export const isSticky = ({ mode }: Cell): boolean => mode !== "non-sticky";
