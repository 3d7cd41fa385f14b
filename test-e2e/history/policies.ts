/** The modes of the session manager. */
export type Mode = "sticky" | "non-sticky";

/**
 * How a session's requests are kept apart, and with that what must be true in the end. "all": by the lock. The others
 * are optimistic, and are named after what stands where two requests changed the same attribute: the later one, the
 * earlier one, or the sum of what both added.
 */
export type Policy = "all" | "last-write-wins" | "fail" | "sum";
