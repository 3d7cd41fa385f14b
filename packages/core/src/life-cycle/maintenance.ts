import { type Background, forEachLimited } from "../background.js";
import type { Parts } from "../parts.js";
import type { Successor } from "../session/record.js";
import type { Backups } from "./backups.js";
import { noteEnd } from "./bury.js";
import { load } from "./load.js";
import type { LocalSession, LocalSessions } from "./local-sessions.js";

/** How many sessions are pushed, moved or renewed at a time: background work must not crowd out requests. */
const atOnce = 16;
const retryFailedMs = 1000;
const longestSweepMs = 60_000;
const shortestSweepMs = 50;
const secondLookAfterMs = 1000;
/** How many sessions are looked after again in a second. A node may be away for long, and its answer all that is missing. */
const mostRetried = 256;

/** How many sessions are packed up in one turn of the event loop. */
const restedAtOnce = 256;

/** The background work of a process' sticky sessions. */
export interface Maintenance {
  /** A session has this idle timeout: it is looked after often enough from now on. */
  noteIdleTimeout(ms: number): void;
  /** Looks at a session's backup: gives it what is left of the session's life, and makes it anew where it is gone. */
  renew(local: LocalSession): Promise<void>;
  /** Finds out, in the background, whether doubted sessions are still this process' own, and forgets those that are not. */
  settle(doubted: readonly LocalSession[]): void;
  stop(): void;
}

/**
 * What a process does for its sticky sessions while no request asks for it: forgets the expired; renews the time to
 * live of records whose sessions are only read; pushes what could not be saved; moves backups off a node that went
 * down, and sees after a node that is back, as it may have come back empty.
 */
export function startMaintenance(
  sessions: LocalSessions,
  backups: Backups,
  background: Background,
  parts: Parts,
): Maintenance {
  const { clock, events, options } = parts;
  let shortestIdleMs = options.idleTimeoutMs;
  let stopSecondLook = () => {};
  let wasOff = parts.ring.isOff;
  /** When the last sweep was; monotonic milliseconds. */
  let sweptMs = clock.monotonicMs();
  /** Sessions whose backup could not be looked after, as a node did not answer that had to be asked. */
  const unsettled = new Set<LocalSession>();
  const sweeping = repeat(
    () => Math.min(longestSweepMs, Math.max(shortestSweepMs, shortestIdleMs / 10)),
    async () => {
      const all = sessions.sweep();
      await seeTo(all.filter(isRenewalDue), renew);
      await restIdle(all);
    },
  );
  const stops = [
    () => sweeping.stop(),
    repeat(
      () => retryFailedMs,
      async () => {
        await pushFailed();
        await seeToUnsettled();
      },
    ).stop,
    events.on("nodeDown", ({ node }) => background.run(() => seeTo(backedUpOn(node), putBack))),
    events.on("nodeUp", ({ node }) =>
      background.run(async () => {
        await pushFailed();
        await seeTo(backedUpOn(node), renew);
      }),
    ),
    events.on("reconfigured", ({ left }) => {
      background.run(() => pushAll(left));
      // What was under way when the ring changed may have gone to a node that was taken out.
      stopSecondLook();
      stopSecondLook = clock.after(secondLookAfterMs, () =>
        background.run(async () => {
          await seeTo(backedUpOutside([]), putBack);
          await seeTo(backedUpOutside(left), renew);
        }),
      );
    }),
    () => stopSecondLook(),
    events.on("nodeReconnected", ({ node }) => background.run(() => seeTo(backedUpOn(node), renew))),
  ];

  return {
    renew,
    noteIdleTimeout(ms) {
      if (ms >= shortestIdleMs) return;
      shortestIdleMs = ms;
      sweeping.rearm();
    },
    settle(doubted) {
      background.run(() => forEachLimited(doubted, atOnce, look));
    },
    stop() {
      for (const stop of stops) stop();
    },
  };

  /** Those that nobody used since the last sweep take less memory from now on. */
  async function restIdle(locals: readonly LocalSession[]): Promise<void> {
    const idleSinceMs = sweptMs;
    sweptMs = clock.monotonicMs();
    let count = 0;
    for (const { live, lastUsedMs } of locals) {
      if (lastUsedMs >= idleSinceMs) continue;
      live.rest();
      // Requests come first.
      if (++count % restedAtOnce === 0) await new Promise(setImmediate);
    }
  }

  function repeat(everyMs: () => number, work: () => Promise<void>): { stop(): void; rearm(): void } {
    let cancel = clock.after(everyMs(), tick);
    let stopped = false;
    function tick() {
      background.run(() => work().finally(rearm));
    }
    function rearm() {
      cancel();
      if (!stopped) cancel = clock.after(everyMs(), tick);
    }
    return {
      rearm,
      stop() {
        stopped = true;
        cancel();
      },
    };
  }

  async function pushFailed(): Promise<void> {
    sessions.sweep();
    for (const local of backups.failed) if (sessions.find(local.live) !== local) backups.forget(local);
    if (!parts.ring.nodes.some((node) => node.reachable)) return;
    await forEachLimited(backups.failed, atOnce, (local) => backups.retry(local));
  }

  /** Looks after backups; those for which that fails are looked after again. */
  async function seeTo(
    locals: readonly LocalSession[],
    work: (local: LocalSession) => Promise<void>,
  ): Promise<void> {
    await forEachLimited(locals, atOnce, async (local) => {
      unsettled.delete(local);
      await work(local).catch(() => unsettled.add(local)); // behind those that have waited for longer
    });
  }

  async function seeToUnsettled(): Promise<void> {
    if (unsettled.size === 0 || parts.ring.isOff || !parts.ring.nodes.some((node) => node.reachable)) return;
    sessions.sweep();
    for (const local of unsettled) {
      if (sessions.find(local.live) !== local || local.isDoubted) unsettled.delete(local);
    }
    const first = [...unsettled].slice(0, mostRetried);
    const isThere = ({ live }: LocalSession) => parts.ring.node(live.node)?.reachable === true;
    await seeTo(first, (local) => (isThere(local) ? renew(local) : putBack(local)));
  }

  /** The ring has changed: what a node had that was taken out, and what was in memory alone, goes where it belongs now. */
  async function pushAll(left: readonly string[]): Promise<void> {
    const hasComeOn = wasOff && !parts.ring.isOff;
    wasOff = parts.ring.isOff;
    if (wasOff) return;
    await pushFailed();
    if (hasComeOn) await seeTo(sessions.sweep().filter(isStored), renew);
    else await seeTo(backedUpOutside(left), putBack);
  }

  /** Sessions whose backup is on no member of the ring, or on one whose place another has taken that has its id. */
  function backedUpOutside(replaced: readonly string[]): LocalSession[] {
    const isOutside = (node: string) => replaced.includes(node) || parts.ring.node(node) === undefined;
    return parts.ring.isOff
      ? []
      : sessions
          .sweep()
          .filter(({ live, isDoubted }) => live.stored && isOutside(live.stored.node) && !isDoubted);
  }

  /** Without those that another process may own: it sees to their backup, and ours may be out of date. */
  function backedUpOn(node: string): LocalSession[] {
    return sessions.sweep().filter(({ live, isDoubted }) => live.stored?.node === node && !isDoubted);
  }

  /** Less than half of the record's life is left, and the session was used since it was last renewed. */
  function isRenewalDue({ live, lastUsedMs, renewedMs, isDoubted }: LocalSession): boolean {
    if (isDoubted) return false;
    const used = live.holders > 0 || lastUsedMs > renewedMs;
    return (
      live.stored !== undefined &&
      !parts.ring.isOff &&
      used &&
      clock.monotonicMs() - renewedMs > live.idleTimeoutMs / 2
    );
  }

  /** A look at the record tells whether it is still there and still ours; it then lives as long as the session here. */
  async function renew(local: LocalSession): Promise<void> {
    const { live } = local;
    const usedMs = live.holders > 0 ? clock.monotonicMs() : local.lastUsedMs;
    const leftMs = Math.max(1, live.idleTimeoutMs - (clock.monotonicMs() - usedMs));
    const known = live.stored?.revision.version ?? "";
    const found = await load(live.identity, live.node, parts, leftMs);
    if (found === "absent") await putBack(local);
    else if (found.kind === "ended") end(local, found.successor);
    else if (found.revision.version < known) await putBack(local);
    else if (found.revision.version > known) giveUp(local);
    else {
      await parts.replicas.keepAlive(found, live.identity, leftMs);
      local.renewedMs = usedMs;
    }
  }

  /** Another process said that it went on with the session, or ended it. What is on the nodes decides. */
  async function look(local: LocalSession): Promise<void> {
    const { live } = local;
    const idleMs = live.holders > 0 ? 0 : clock.monotonicMs() - local.lastUsedMs;
    const leftMs = Math.max(1, live.idleTimeoutMs - idleMs);
    const found = await load(live.identity, live.node, parts, leftMs);
    if (found === "absent") return; // whoever has it puts it back; until then the doubt stays
    if (found.kind === "ended") end(local, found.successor);
    else if (found.revision.version > (live.stored?.revision.version ?? "")) giveUp(local);
    else if (found.record.writeId === live.stored?.writeId) local.isDoubted = false;
  }

  /** Its node is gone or has lost it: the next one takes it, as the version that it is. */
  async function putBack(local: LocalSession): Promise<void> {
    const kind = await backups.restore(local);
    if (kind === "ended") sessions.remove(local.live.identity.id);
    if (kind === "newer") giveUp(local);
  }

  /** @param successor where it goes on, and whoever has it now with what they change */
  function end({ live }: LocalSession, successor: Successor | undefined): void {
    noteEnd(live, successor, parts);
    sessions.remove(live.identity.id);
  }

  /** Another process owns it now. Ours is out of date; what is unsaved in it merges when it is saved. */
  function giveUp({ live }: LocalSession): void {
    if (!live.unsaved && live.holders === 0) sessions.remove(live.identity.id);
  }
}

const isStored = ({ live }: LocalSession) => live.stored !== undefined;
