import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";

/** What an application process tells when it takes requests. Everything else that it tells is its program's affair. */
export interface Listening {
  readonly kind: "listening";
  readonly port: number;
}

/** How a process is started. */
export interface AppProcessOptions<Message> {
  readonly name: string;
  /** Path of the program, which sends `Listening` to its parent when it takes requests. */
  readonly program: string;
  /** Given to the program as its only argument, as JSON. */
  readonly configuration: object;
  /** Gets what the program sends to its parent, but for `Listening`. */
  readonly onMessage?: (message: Message) => void;
  /** Gets each line that the program prints. */
  readonly onLine?: (line: string) => void;
}

/** Where a process listens, and the connections to it. */
export interface Line {
  readonly port: number;
  readonly agent: Agent;
}

/** How long a process that was asked to end may take. It saves what is still to be saved, at most 5 s. */
const stopTimeoutMs = 8000;

const keptOutput = 20_000;

/** One application process, and whether the balancer sends requests to it. */
export class AppProcess<Message extends { readonly kind: string }> {
  readonly name: string;
  readonly #options: AppProcessOptions<Message>;
  #child: ChildProcess | undefined;
  #output = "";
  #line: Line | undefined;
  #rotation: Rotation | undefined;

  constructor(options: AppProcessOptions<Message>) {
    this.name = options.name;
    this.#options = options;
  }

  /** Starts it, anew where it has ended. Resolves when it takes requests. @throws Error with what it printed */
  async start(): Promise<void> {
    const { program, configuration } = this.#options;
    const child = fork(program, [JSON.stringify(configuration)], { silent: true, execArgv: [] });
    this.#child = child;
    endWithThisProcess(child);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) eachLine(stream, (line) => this.#note(line));
    }
    const port = await new Promise<number>((resolve, reject) => {
      child.once("exit", () => reject(new Error(`${this.name} did not start: ${this.#output}`)));
      child.on("message", (message: Message | Listening) => {
        if (isListening(message)) resolve(message.port);
        else this.#options.onMessage?.(message);
      });
    });
    this.#line = { port, agent: new Agent({ keepAlive: true }) };
    this.#rotation = newRotation();
  }

  /** Where it listens. @throws Error before it was started */
  get line(): Line {
    if (this.#line === undefined) throw new Error(`${this.name} was never started`);
    return this.#line;
  }

  get isInRotation(): boolean {
    return this.#rotation !== undefined;
  }

  /** Resolves when the balancer sends nothing here any more; at once where it does not now. */
  async outOfRotation(): Promise<void> {
    await this.#rotation?.left;
  }

  /** Takes it out of rotation, and does nothing else to it. */
  leaveRotation(): void {
    this.#rotation?.leave();
    this.#rotation = undefined;
  }

  /** Takes it into rotation. */
  joinRotation(): void {
    this.#rotation ??= newRotation();
  }

  /** Stops it in its tracks (SIGSTOP) and takes it out of rotation. What it has begun stays open. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
    this.leaveRotation();
  }

  /** Lets it go on (SIGCONT), and takes it into rotation again. */
  resume(): void {
    this.#child?.kill("SIGCONT");
    this.joinRotation();
  }

  /** Ends it without a chance to say goodbye (SIGKILL). Resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Takes it out of rotation and asks it to end (SIGTERM); one that does not in 8 s is killed. Resolves when it is gone. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** What it printed, where it ended by itself; undefined where it did not. */
  get failure(): string | undefined {
    const hasFailed = this.#child !== undefined && hasEnded(this.#child);
    return hasFailed ? `${this.name} ended by itself: ${this.#output}` : undefined;
  }

  async #end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    this.leaveRotation();
    if (child !== undefined && !hasEnded(child)) {
      child.kill(signal);
      const impatience = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
      await once(child, "exit");
      clearTimeout(impatience);
    }
    this.#line?.agent.destroy();
  }

  #note(line: string): void {
    this.#output = `${this.#output}${line}\n`.slice(-keptOutput);
    this.#options.onLine?.(line);
  }
}

const isListening = (message: { readonly kind: string }): message is Listening =>
  message.kind === "listening";

interface Rotation {
  readonly left: Promise<void>;
  leave(): void;
}

function newRotation(): Rotation {
  let leave = () => {};
  const left = new Promise<void>((resolve) => {
    leave = resolve;
  });
  return { left, leave: () => leave() };
}

function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
  stream.on("end", () => {
    if (rest !== "") take(rest);
  });
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

const running = new Set<ChildProcess>();

/** A process ends when its channel is closed, but not while it is stopped. */
function endWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) process.once("exit", endAll);
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size === 0) process.removeListener("exit", endAll);
  });
}

function endAll(): void {
  for (const child of running) child.kill("SIGKILL");
}
