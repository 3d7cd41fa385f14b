import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { waitUntil } from "@msm/conformance";
import type { ClusterReport } from "@msm/samples";
import { afterEach, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("../scripts/sample.mjs", import.meta.url));
const supervisor = fileURLToPath(new URL("../samples/dist/cluster.js", import.meta.url));

const started: ChildProcess[] = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

describe("the demo's command", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("ends every process on %s, with exit code 0", async (signal) => {
    const demo = await startDemo(supervisor, ["sticky", "--storage", "embedded", "--port", "0"]);

    demo.child.kill(signal);

    expect(await exitCodeOf(demo.child)).toBe(0);
    await allGone(demo.pids);
  });

  it("ends every process where it is killed itself, a frozen one too", async () => {
    const demo = await startDemo(supervisor, ["non-sticky", "--storage", "embedded", "--port", "0"]);
    await fetch(`${demo.url}/cluster/app1/freeze`, { method: "POST", headers: { "x-msm-control": "1" } });

    demo.child.kill("SIGKILL");

    await allGone(demo.pids);
  });

  it("runs through the script behind `pnpm samples:…`, with the `--` that pnpm may hand on", async () => {
    const args = ["sticky", "--", "--storage", "embedded", "--port", "0", "--apps", "2", "--nodes", "1"];
    const demo = await startDemo(script, args);

    expect(demo.report.processes.map(({ name }) => name)).toEqual(["app1", "app2", "balancer"]);
    expect(demo.report.nodes.map(({ name }) => name)).toEqual(["n1"]);
    demo.child.kill("SIGTERM");

    expect(await exitCodeOf(demo.child)).toBe(0);
    await allGone(demo.pids);
  });

  it("ends everything where that script is killed", async () => {
    const demo = await startDemo(script, ["sticky", "--storage", "embedded", "--port", "0"]);

    demo.child.kill("SIGKILL");

    await allGone(demo.pids);
  });

  it.each([
    [["sticky", "--storage", "floppy"], /--storage must be memcached or redis or embedded, got "floppy"/],
    [["sticky", "--apps", "0"], /--apps must be a whole number from 1 to 16, got "0"/],
    [["sideways"], /the mode must be sticky or non-sticky, got "sideways"/],
    [["sticky", "--color", "red"], /Unknown option '--color'/],
    [["sticky", "--locking", "sometimes"], /--locking must be optimistic, none, all, .*; got "sometimes"/],
    [
      ["non-sticky", "--locking", "path:("],
      /--locking must be .*; got "path:\(" \(Invalid regular expression/,
    ],
    [
      ["non-sticky", "--locking", "method:PSOT"],
      /--locking must be .*; got "method:PSOT" \(there is no method/,
    ],
  ])("says what is wrong with %j, and leaves nothing running", async (args, words) => {
    const child = run(supervisor, args);
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });

    expect(await exitCodeOf(child)).toBe(1);
    expect(said).toMatch(words);
    expect(childrenOf(child.pid)).toEqual([]);
  });
});

interface Demo {
  readonly child: ChildProcess;
  readonly url: string;
  readonly report: ClusterReport;
  /** Everything that the demo runs. */
  readonly pids: readonly number[];
}

async function startDemo(program: string, args: readonly string[]): Promise<Demo> {
  const child = run(program, args);
  let said = "";
  for (const output of [child.stdout, child.stderr]) {
    output?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  const address = () => /^Open (http:\S+)\/$/m.exec(said)?.[1];
  const isOver = () => child.exitCode !== null;
  await waitUntil("the demo has said its address", () => address() !== undefined || isOver(), {
    timeoutMs: 120_000,
  });
  if (isOver()) throw new Error(`the demo ended with exit code ${child.exitCode}: ${said}`);
  const url = address() ?? "";
  const report = (await (await fetch(`${url}/cluster.json`)).json()) as ClusterReport;
  const supervisorPid = report.processes.find(({ kind }) => kind === "balancer")?.pid ?? undefined;
  // Its children are more than it reports: one of them watches over the others.
  return {
    child,
    url,
    report,
    pids: [...childrenOf(supervisorPid), ...(supervisorPid ? [supervisorPid] : [])],
  };
}

function run(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  return child;
}

async function exitCodeOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

async function allGone(pids: readonly number[]): Promise<void> {
  expect(pids.length).toBeGreaterThan(3);
  await waitUntil(`none of ${pids.join(", ")} runs`, () =>
    runningProcesses().every(({ pid }) => !pids.includes(pid)),
  );
}

function childrenOf(parent: number | undefined): number[] {
  return runningProcesses()
    .filter((each) => each.parent === parent)
    .map(({ pid }) => pid);
}

/** All that run; without those that have ended, and that nobody has asked about yet. */
function runningProcesses(): { pid: number; parent: number }[] {
  return execFileSync("ps", ["-A", "-o", "pid=,ppid=,stat="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , state]) => !state?.startsWith("Z"))
    .map(([pid, parent]) => ({ pid: Number(pid), parent: Number(parent) }));
}
