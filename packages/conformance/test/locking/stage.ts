import {
  type CommitResult,
  type MsmErrorCode,
  memoryStorage,
  type SessionExchange,
  type SessionManager,
  type SessionRequest,
  type Storage,
} from "@msm/core";
import { onTestFinished } from "vitest";
import {
  type Cluster,
  type ClusterOptions,
  cluster,
  type TestClient,
  type TestClock,
  testClient,
} from "../../src/index.js";

/** The ways to keep sessions. */
export const modes = ["non-sticky", "sticky"] as const;

/** A cluster with one session in it. */
export interface Stage {
  readonly running: Cluster;
  readonly one: SessionManager;
  /** Who has the session's cookie. */
  readonly client: TestClient;
  readonly id: string;
}

/**
 * Starts a cluster, its process app1, and one session: user "anna", count 0, and an object `cart`. All end with the test.
 * @param options those of the cluster, of either mode
 */
export async function begin(options: Readonly<Record<string, unknown>>): Promise<Stage> {
  const running = cluster(options as ClusterOptions);
  onTestFinished(() => running.close());
  const one = running.start("app1");
  const client = testClient();
  const { session } = await client.visit(one, (attributes) => {
    attributes.user = "anna";
    attributes.count = 0;
    attributes.cart = { n: 0 };
  });
  await running.clock.turn(0);
  return { running, one, client, id: session!.id };
}

/** Opens a request with this cookie, and leaves it open. */
export async function open(
  manager: SessionManager,
  cookie: string | undefined,
  request: Partial<SessionRequest> = {},
): Promise<SessionExchange> {
  const cookieHeader = cookie === undefined ? undefined : `sid=${cookie}`;
  return manager.open({ method: "GET", url: "/", secure: false, cookieHeader, ...request });
}

/** What a request came to. */
export interface Closed {
  readonly outcome: CommitResult["outcome"];
  /** What it is refused with; undefined where it is not. */
  readonly code: MsmErrorCode | undefined;
  /** The cookie's new value; undefined where the response sets none, "" where it clears it. */
  readonly cookie: string | undefined;
}

/** Commits an open request, and ends it. */
export async function close(exchange: SessionExchange): Promise<Closed> {
  const { outcome, error } = await exchange.commit();
  const cookie = /^sid=([^;]*)/.exec(exchange.cookie() ?? "")?.[1];
  await exchange.end();
  return { outcome, code: error?.code, cookie };
}

/** The attributes that the session of this cookie has now. */
export async function attributesOf(manager: SessionManager, cookie: string | undefined) {
  return (await testClient(cookie).visit(manager)).session!.attributes;
}

/** The id of the node that a cookie names. */
export const homeOf = (cookie: string | undefined): string => cookie!.split("-")[1]!;

/** A call that waits at a gate. */
interface HeldCall {
  /** Resolves when the call is there. */
  readonly arrived: Promise<void>;
  letGo(): void;
}

/** Storages that share a gate before one of their verbs. */
export interface GatedStorage {
  readonly createStorage: (clock: TestClock) => Storage;
  /** The next call waits: before it is carried out, or before its answer. */
  holdNext(where?: "before it" | "before its answer"): HeldCall;
}

/** Makes memory storages whose calls of this verb can be held up. */
export function gatedStorage(verb: "load" | "save" | "putIfNewer"): GatedStorage {
  let waiting: { where: "before it" | "before its answer"; stop: () => Promise<void> } | undefined;

  async function pass<T>(call: () => Promise<T>): Promise<T> {
    const gate = waiting;
    waiting = undefined;
    if (gate?.where === "before it") await gate.stop();
    const result = await call();
    if (gate?.where === "before its answer") await gate.stop();
    return result;
  }

  return {
    createStorage(clock) {
      const inner = memoryStorage({ clock });
      const { load, save, putIfNewer } = inner;
      if (verb === "load") inner.load = (...args) => pass(() => load.apply(inner, args));
      if (verb === "save") inner.save = (...args) => pass(() => save.apply(inner, args));
      if (verb === "putIfNewer") inner.putIfNewer = (...args) => pass(() => putIfNewer.apply(inner, args));
      return inner;
    },
    holdNext(where = "before it") {
      const arrival = signal();
      const departure = signal();
      const stop = () => {
        arrival.give();
        return departure.given;
      };
      waiting = { where, stop };
      return { arrived: arrival.given, letGo: departure.give };
    },
  };
}

function signal(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}
