import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import type { BalancerEvent } from "../balancer/app-pool.js";
import { type Balancer, startBalancer } from "../balancer/balancer.js";
import { files } from "../files.js";
import { askApp } from "./ask-app.js";
import { controlPages, UnknownMember } from "./control.js";
import { countRecords } from "./count-records.js";
import { Journal, type News } from "./journal.js";
import { type Action, Member, type MemberOptions } from "./member.js";
import type { ClusterOptions } from "./options.js";
import { claimPorts, type PortBlock } from "./port-block.js";
import { startReaper } from "./reaper.js";
import type { ClusterReport, MemberReport } from "./report.js";
import { chooseStorage, type Storage } from "./storage.js";

/** A running demo cluster. */
export interface Cluster {
  /** Where the balancer listens, e.g. "http://127.0.0.1:8080". */
  readonly url: string;
  /** What `GET /cluster.json` says now. */
  report(): ClusterReport;
  /**
   * Stops (SIGTERM), kills (SIGKILL), freezes (SIGSTOP) or restarts a process or node. Resolves when that is done;
   * rejects where there is none of this name, or where it does not come up again.
   */
  control(name: string, action: Action): Promise<void>;
  /** Ends everything, the applications before the nodes. Safe to call twice. */
  stop(): Promise<void>;
}

const host = "127.0.0.1";
const defaultPort = 8080;

/**
 * Starts storage nodes, application processes and a balancer on this machine, and resolves when all of them answer.
 * @throws Error where something cannot be started; nothing is left running then
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const storage = chooseStorage(options.storage);
  const ports = await claimPorts();
  const plan = await planCluster(options, storage, ports).catch(async (error: unknown) => {
    await ports.release();
    throw error;
  });
  const journal = new Journal();
  const reaper = startReaper();
  const members = [...plan.nodes, ...plan.apps].map(
    (each) => new Member(observed(each, journal, options), reaper),
  );
  const nodes = members.filter((member) => member.options.kind === "node");
  const apps = members.filter((member) => member.options.kind === "app");
  let balancer: Balancer | undefined;

  const report = (): ClusterReport => ({
    mode: options.mode,
    storage: { kind: storage.kind, why: storage.why },
    locking: options.locking ?? "optimistic",
    ...(options.mode === "sticky" ? { backup: options.backup ?? "sync" } : {}),
    processes: [...apps.map(reportOf), reportOfBalancer(balancer)],
    nodes: nodes.map(reportOf),
    journal: journal.entries(),
  });

  const control = async (name: string, action: Action) => {
    const member = members.find((each) => each.options.name === name);
    if (!member) throw new UnknownMember(`there is no process "${name}" that can be controlled`);
    journal.add("cluster", {
      text: `${name} ${done[action]}`,
      tone: action === "restart" ? "plain" : "trouble",
    });
    await member[action]();
    if (action === "restart") journal.add("cluster", { text: `${name} is back`, tone: "good" });
  };

  const end = async () => {
    // Applications first: what they have still to save needs the nodes.
    await Promise.all(apps.map((app) => app.stop()));
    await Promise.all([...nodes.map((node) => node.stop()), balancer?.close()]);
    await reaper.close();
    await ports.release();
  };
  let ending: Promise<void> | undefined;
  const stop = () => {
    ending ??= end();
    return ending;
  };

  try {
    // The balancer first: where its port is taken, nothing else needs to be started.
    balancer = await startBalancer({
      apps: apps.map(({ options: { name, port } }) => ({ name, host, port })),
      sticky: options.mode === "sticky",
      port: options.port ?? defaultPort,
      ownPages: controlPages({ report, control }),
      onEvent: (event) => journal.add("balancer", newsOf(event)),
    }).catch((error) => {
      throw portTrouble(error, options.port ?? defaultPort);
    });
    await allStarted(nodes);
    await allStarted(apps);
    await allBalanced(balancer, apps);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://${host}:${balancer.port}`, report, control, stop };
}

const done = {
  stop: "is asked to end (SIGTERM)",
  kill: "is killed (SIGKILL)",
  freeze: "is frozen (SIGSTOP): it takes connections, and never answers",
  restart: "is started anew",
} as const;

interface Plan {
  readonly nodes: readonly MemberOptions[];
  readonly apps: readonly MemberOptions[];
}

/** Gives every process its name, its port and its command line. */
async function planCluster(options: ClusterOptions, storage: Storage, ports: PortBlock): Promise<Plan> {
  const nodes: MemberOptions[] = [];
  for (const name of numbered("n", options.singleNode ? 1 : (options.nodes ?? 2))) {
    const port = await ports.next();
    nodes.push({
      name,
      kind: "node",
      port,
      command: storage.command(port),
      ask: async () => ({ records: await countRecords(storage.kind, port) }),
    });
  }
  const addresses = nodes.map(({ name, port }) =>
    options.singleNode ? storage.address(port) : `${name}:${storage.address(port)}`,
  );
  const env = { MSM_SECRET: randomBytes(32).toString("hex") };
  const apps: MemberOptions[] = [];
  for (const name of numbered("app", options.apps ?? 3)) {
    const port = await ports.next();
    const command = [
      process.execPath,
      files.app,
      ...appArguments(options, name, port, addresses.join(",")),
    ] as const;
    apps.push({ name, kind: "app", port, command, env, ask: () => askApp(port) });
  }
  return { nodes, apps };
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, at) => `${prefix}${at + 1}`);

function appArguments(options: ClusterOptions, name: string, port: number, nodes: string): string[] {
  const args = ["--name", name, "--port", String(port), "--mode", options.mode, "--nodes", nodes];
  if (options.locking !== undefined) args.push("--locking", options.locking);
  if (options.backup !== undefined) args.push("--backup", options.backup);
  if (options.failoverNodes !== undefined) args.push("--failover-nodes", options.failoverNodes);
  return args;
}

/** Adds to a process' options that what happens to it, and what it says, is written down. */
function observed(member: MemberOptions, journal: Journal, { onLine }: ClusterOptions): MemberOptions {
  const { name, kind } = member;
  return {
    ...member,
    ...(kind === "app" ? { onMessage: (message: unknown) => journal.add(name, message as News) } : {}),
    onLine: (line) => onLine?.(`[${name}] ${line}`),
    onDeath: (how) => journal.add("cluster", { text: `${name} ended by itself (${how})`, tone: "trouble" }),
  };
}

function newsOf(event: BalancerEvent): News {
  switch (event.kind) {
    case "appUp":
      return { text: `${event.app} takes requests`, tone: "good" };
    case "appDown":
      return { text: `${event.app} gets no more requests: ${event.why}`, tone: "trouble" };
    case "failedOver":
      return { text: `requests of ${event.from}'s sessions go to ${event.to}`, tone: "plain" };
    case "unanswered":
      return {
        text: `${event.app} left ${event.method} ${event.path} unanswered; it was not sent again`,
        tone: "trouble",
      };
  }
}

function reportOf(member: Member): MemberReport {
  const { name, kind, port } = member.options;
  return {
    name,
    kind,
    pid: member.pid ?? null,
    address: `${host}:${port}`,
    state: member.state,
    doing: member.answer ?? null,
  };
}

function reportOfBalancer(balancer: Balancer | undefined): MemberReport {
  return {
    name: "balancer",
    kind: "balancer",
    pid: process.pid,
    address: `${host}:${balancer?.port ?? 0}`,
    state: balancer ? "up" : "starting",
    doing: null,
  };
}

function portTrouble(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== "EADDRINUSE") return error;
  return new Error(`port ${port} is taken: give another one with --port, or --port 0 for any free one`);
}

async function allStarted(members: readonly Member[]): Promise<void> {
  // All are waited for, so that none is still being started while a failure is cleaned up.
  const started = await Promise.allSettled(members.map((member) => member.start()));
  for (const each of started) if (each.status === "rejected") throw each.reason;
}

async function allBalanced(balancer: Balancer, apps: readonly Member[]): Promise<void> {
  while (!apps.every((app) => balancer.isUp(app.options.name))) await wait(25);
}
