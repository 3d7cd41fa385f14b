import fc from "fast-check";
import { type Fate, fates, type NodeState } from "./network.js";

/** One step of a story. Numbers choose among what is there then. */
export type Command = { readonly steps: number } & (
  | {
      readonly do: "open";
      readonly client: number;
      readonly process: number;
      readonly url: string;
      readonly lock: boolean | undefined;
    }
  | { readonly do: "leave"; readonly request: number }
  | {
      readonly do: "work";
      readonly client: number;
      readonly process: number;
      readonly lock: boolean | undefined;
    }
  | { readonly do: "read"; readonly request: number; readonly slot: number }
  | { readonly do: "read all"; readonly request: number }
  | { readonly do: "assign"; readonly request: number; readonly slot: number | "own" }
  | { readonly do: "delete"; readonly request: number; readonly slot: number | "own" }
  | { readonly do: "hold"; readonly request: number }
  | { readonly do: "push"; readonly request: number; readonly reads: boolean }
  | { readonly do: "count"; readonly request: number; readonly atOnce: boolean }
  | { readonly do: "lock" | "release"; readonly request: number }
  | { readonly do: "commit" | "save" | "headers" | "finish" | "abort"; readonly request: number }
  | { readonly do: "destroy" | "reload"; readonly request: number }
  | { readonly do: "regenerate"; readonly request: number; readonly keep: "all" | "none" | "all, with grace" }
  | { readonly do: "turn"; readonly ms: number; readonly idly: boolean }
  | { readonly do: "trouble"; readonly fates: readonly Fate[] }
  | { readonly do: "node"; readonly state: NodeState }
  | { readonly do: "belated"; readonly count: number }
  | { readonly do: "kill" | "pause"; readonly process: number }
  | { readonly do: "calm"; readonly node: number; readonly process: number; readonly kills: boolean }
);

const few = (most: number) => fc.integer({ min: 0, max: most });
const request = fc.nat(5);
const slot = fc.oneof(fc.constant("own" as const), few(1));

function command<T extends object>(weight: number, parts: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return { weight, arbitrary: fc.record({ ...parts, steps: few(5) }) };
}

/** What the application says of one request's lock: mostly nothing. */
const ownChoice = fc.constantFrom(
  undefined,
  undefined,
  undefined,
  undefined,
  undefined,
  undefined,
  true,
  false,
);

const is = <T extends string>(name: T) => fc.constant(name);

const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  command(12, {
    do: is("open"),
    client: few(2),
    process: few(2),
    url: fc.constantFrom("/", "/other"),
    lock: ownChoice,
  }),
  command(1, { do: is("leave"), request }),
  command(2, { do: is("work"), client: few(2), process: few(2), lock: ownChoice }),
  command(5, { do: is("read"), request, slot: few(8) }),
  command(2, { do: is("read all"), request }),
  command(5, { do: is("assign"), request, slot }),
  command(2, { do: is("delete"), request, slot }),
  command(4, { do: is("hold"), request }),
  command(8, { do: is("push"), request, reads: fc.boolean() }),
  command(8, { do: is("count"), request, atOnce: fc.constantFrom(false, false, true) }),
  command(3, { do: fc.constantFrom("lock", "lock", "release"), request }),
  command(8, { do: fc.constantFrom("commit", "commit", "save", "headers"), request }),
  command(6, { do: is("finish"), request }),
  command(2, { do: is("abort"), request }),
  command(2, { do: fc.constantFrom("destroy", "reload"), request }),
  command(1, {
    do: is("regenerate"),
    request,
    keep: fc.constantFrom("all", "none", "all, with grace", "all, with grace"),
  }),
  command(5, { do: is("turn"), ms: fc.constantFrom(1, 100, 260, 600, 1500, 5000), idly: fc.boolean() }),
  command(6, {
    do: is("trouble"),
    fates: fc.array(fc.constantFrom(...fates), { minLength: 1, maxLength: 4 }),
  }),
  command(1, { do: is("node"), state: fc.constantFrom("up", "up", "down", "silent") }),
  command(3, { do: is("belated"), count: fc.integer({ min: 1, max: 3 }) }),
  command(1, { do: is("kill"), process: few(2) }),
  command(1, { do: is("pause"), process: few(2) }),
  command(1, { do: is("calm"), node: few(2), process: few(2), kills: fc.boolean() }),
) as fc.Arbitrary<Command>;

/** What happens in a story: any length is as likely as any other. */
export const anyCommands = fc.noBias(fc.array(anyCommand, { maxLength: 70, size: "max" }));

const renewalCommand = fc.oneof(
  command(12, {
    do: is("open"),
    client: few(1),
    process: few(2),
    url: is("/"),
    lock: fc.constant(undefined),
  }),
  command(12, { do: is("count"), request, atOnce: fc.constant(true) }),
  command(3, { do: is("assign"), request, slot }),
  command(3, { do: is("push"), request, reads: fc.boolean() }),
  command(6, { do: fc.constantFrom("commit", "commit", "save"), request }),
  command(12, { do: is("finish"), request }),
  command(6, {
    do: is("regenerate"),
    request,
    keep: fc.constantFrom("all", "all, with grace", "all, with grace"),
  }),
  command(1, { do: is("turn"), ms: fc.constantFrom(1, 100, 600), idly: fc.boolean() }),
  command(1, {
    do: is("trouble"),
    fates: fc.array(fc.constantFrom(...fates), { minLength: 1, maxLength: 2 }),
  }),
) as fc.Arbitrary<Command>;

/** What happens in a story of requests that change a session at once, while some of them give it new ids. */
export const renewals = fc.noBias(fc.array(renewalCommand, { maxLength: 50, size: "max" }));

/** What a story is played with. */
export interface Setting {
  readonly mode: "sticky" | "non-sticky";
  /** One node may have any fault at any time; of several, only one at a time has. */
  readonly nodes: number;
  readonly processes: number;
  readonly locking: "optimistic" | "all" | "auto" | "app" | "none";
  readonly onConflict: "last-write-wins" | "fail";
  readonly onLockTimeout: "error" | "optimistic";
  readonly lockTimeoutMs: number;
  readonly maxLeaseMs: number;
  /** Whether nodes tell who waits that a lease was given back. */
  readonly tellsOfRelease: boolean;
  /** In sticky mode only. */
  readonly backup: "sync" | "async";
}

/** Longer than two calls and a third of itself, so that it is lost by nothing but a fault. */
export const leaseTtlMs = 1200;

/** Any setting of a mode. */
export const anySetting = (mode: Setting["mode"]): fc.Arbitrary<Setting> =>
  fc
    .record<Setting>({
      mode: fc.constant(mode),
      nodes: fc.constantFrom(1, 1, 2, 3),
      processes: fc.constantFrom(1, 1, 2, 3),
      locking: fc.constantFrom("optimistic", "optimistic", "optimistic", "all", "all", "auto", "app", "none"),
      onConflict: fc.constantFrom("last-write-wins", "last-write-wins", "fail"),
      onLockTimeout: fc.constantFrom("error", "error", "optimistic"),
      lockTimeoutMs: fc.constantFrom(300, 2000),
      maxLeaseMs: fc.constantFrom(leaseTtlMs, 4000),
      tellsOfRelease: fc.boolean(),
      backup: mode === "sticky" ? fc.constantFrom("sync", "sync", "async") : fc.constant("sync"),
    })
    .map(possible);

/** "none" knows no conflict but to overwrite. */
function possible(setting: Setting): Setting {
  const { locking, onConflict } = setting;
  return {
    ...setting,
    onConflict: locking === "none" ? "last-write-wins" : onConflict,
  };
}
