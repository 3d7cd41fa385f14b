import type { ReaperMessage } from "./cluster/reaper.js";

/*
 * Ends the cluster's processes where the supervisor cannot any more, because it was killed itself: the channel to it
 * is then closed by the operating system, whatever happened. memcached and Redis know nothing of such a channel, and a
 * frozen process could not react, so that one process watches for all.
 */
const guarded = new Set<number>();

process.on("message", (message: ReaperMessage) => {
  if ("guard" in message) guarded.add(message.guard);
  else guarded.delete(message.release);
});

process.on("disconnect", () => {
  for (const pid of guarded) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended already, which is all we want.
    }
  }
  process.exit(0);
});

// A Ctrl-C is the supervisor's to handle.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
