import { fork } from "node:child_process";
import { files } from "../files.js";

/** What the supervisor tells the reaper: a process that it must not leave behind, or one that has ended. */
export type ReaperMessage = { readonly guard: number } | { readonly release: number };

/** Outlives the supervisor by a moment, and takes the cluster's processes along. */
export interface Reaper {
  readonly pid: number;
  guard(pid: number): void;
  release(pid: number): void;
  /** Ends the reaper, and whatever it still guards. */
  close(): Promise<void>;
}

/** Starts the reaper as a process of its own. */
export function startReaper(): Reaper {
  const child = fork(files.reaper, { detached: true, stdio: ["ignore", "ignore", "ignore", "ipc"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  // It only listens, so it is no reason for the supervisor to stay.
  child.unref();
  child.channel?.unref();
  const send = (message: ReaperMessage) => {
    if (child.connected) child.send(message);
  };
  return {
    pid: child.pid ?? -1,
    guard: (pid) => send({ guard: pid }),
    release: (pid) => send({ release: pid }),
    async close() {
      child.ref();
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
