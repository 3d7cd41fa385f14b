import type { Scheduler } from "fast-check";
import { repeatChance } from "./chance.js";
import type { Command, Setting } from "./commands.js";
import type { ModelSession } from "./ledger.js";
import { attributesOf, type Client, type Request, Requests } from "./requests.js";
import { type Process, World } from "./world.js";

/** Objects of requests to come, which a session has from its beginning. */
const seeded = ["o2", "o3", "o4", "o5", "o6", "o7"];

type RequestCommand = Extract<Command, { readonly request: number }>;

/**
 * Plays one story: processes, nodes and clients do what the commands say, and whatever a client is told is held against
 * what is found at the end.
 * @throws Error where a promise was broken, with all that happened
 */
export async function play(
  setting: Setting,
  commands: readonly Command[],
  scheduler: Scheduler,
): Promise<void> {
  repeatChance();
  const world = new World(setting, scheduler);
  const onRejection = (error: unknown) => world.violated(`unhandled rejection: ${error}`);
  process.on("unhandledRejection", onRejection);
  try {
    const story = new Story(world);
    await story.begin();
    for (const command of commands) {
      await story.do(command);
      await world.takeSteps(command.steps);
    }
    await story.end();
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${world.log}`, { cause: error });
  } finally {
    process.off("unhandledRejection", onRejection);
  }
}

class Story {
  readonly #world: World;
  readonly #requests: Requests;
  readonly #clients: readonly [Client, Client, Client];
  /** Index of the node that has all faults until the next calm. */
  #troubled = 0;
  /** Index of the process that the balancer prefers until the next calm. */
  #owner = 0;

  constructor(world: World) {
    this.#world = world;
    this.#requests = new Requests(world);
    const user = { user: 0, cookie: undefined };
    // A browser that misses a Set-Cookie goes on with its old cookie. Which node that names matters where there are
    // several; then the user has one browser with two tabs.
    const sameUser = this.#isOneFaultAtATime ? user : { ...user };
    this.#clients = [user, sameUser, { user: 1, cookie: undefined }];
  }

  /** Both users get a session. */
  async begin(): Promise<void> {
    const [first, second, other] = this.#clients;
    for (const client of [first, other]) {
      const request = await this.#world.completed(this.#requests.begin(client, this.#process(0)));
      if (request === undefined) throw new Error("the first request was refused");
      for (const name of seeded) this.#requests.push(request, { name });
      this.#requests.assign(request, "s0");
      this.#requests.noteState(request);
      await this.#world.completed(this.#requests.finish(request));
    }
    second.cookie = first.cookie;
    await this.#world.calmDown();
  }

  /** Every request is answered, everything belated arrives, and what is left must be right before and after that. */
  async end(): Promise<void> {
    await this.#answerAll();
    await this.#world.calmDown();
    await this.#world.checkNoLockIsHeld();
    await this.#audit();
    this.#world.network.letBelatedGo(Number.POSITIVE_INFINITY);
    await this.#world.turn(1500);
    await this.#audit();
    if (this.#world.ledger.sessions.some(({ successor }) => successor !== undefined)) {
      await this.#world.turn(10_000);
      await this.#audit();
    }
    await this.#world.checkNoLockIsHeld();
    await this.#world.close();
  }

  async do(command: Command): Promise<void> {
    const { network } = this.#world;
    const troubled = network.nodes[this.#troubled]!;
    switch (command.do) {
      case "open":
        this.#open(this.#clients[command.client]!, this.#balance(command.process), command);
        break;
      case "leave":
        this.#requests.leave(command.request);
        break;
      case "work":
        this.#work(this.#clients[command.client]!, this.#balance(command.process), command.lock);
        break;
      case "pause":
        this.#pauseOrResume(this.#process(command.process));
        break;
      case "turn":
        this.#world.tell(`${command.ms} ms pass`);
        await this.#world.turn(command.ms, command.idly);
        break;
      case "trouble":
        this.#world.tell(`${troubled}: ${command.fates.join(", ")}`);
        this.#world.hasHadTrouble = true;
        network.decree(troubled, command.fates);
        break;
      case "node":
        this.#world.tell(`${troubled} is ${command.state}`);
        this.#world.hasHadTrouble = true;
        network.setState(troubled, command.state);
        break;
      case "belated":
        this.#world.tell("something belated arrives");
        network.letBelatedGo(command.count);
        break;
      case "kill":
        if (!this.#isOneFaultAtATime) this.#kill(this.#process(command.process));
        break;
      case "calm":
        await this.#world.calmDown();
        this.#troubled = command.node % network.nodes.length;
        // LIMIT: with several nodes, what another process finds may be a backup that was left behind; also where a
        // request that is still running in the former owner saves it during the next fault.
        if (this.#isBound && (this.#world.hasHadTrouble || this.#requests.areRunning)) break;
        if (command.kills) this.#kill(this.#process(command.process));
        this.#owner = command.process;
        break;
      default: {
        const open = this.#requests.open.filter(
          ({ isWaiting, process }) => !isWaiting && !process.line.isPaused,
        );
        const request = open[command.request % Math.max(1, open.length)];
        if (request === undefined) break;
        this.#doInRequest(request, command);
        this.#requests.noteState(request);
      }
    }
  }

  #open(
    client: Client,
    process: Process,
    arrival: { readonly url: string; readonly lock: boolean | undefined },
  ) {
    if (this.#mayCome(client, process)) void this.#requests.begin(client, process, arrival);
  }

  #work(client: Client, process: Process, lock: boolean | undefined): void {
    // LIMIT: with several nodes, work does not know which of them the client's cookie names; the owner's memory does.
    const isLost = this.#isOneFaultAtATime && this.#world.setting.mode === "non-sticky";
    if (isLost || !this.#mayCome(client, process)) return;
    void this.#requests.work(client, process, lock);
  }

  /**
   * LIMIT: with several nodes, requests of two processes that overlap lose changes where only one of the two has noticed
   * that a node is down: what that one stored on one node alone is overwritten there by what the other copies.
   */
  #mayCome({ user }: Client, process: Process): boolean {
    const losesOverlapping = this.#isOneFaultAtATime && this.#world.setting.mode === "non-sticky";
    return !process.line.isPaused && !(losesOverlapping && this.#requests.isBusyElsewhere(user, process));
  }

  #pauseOrResume({ route, line }: Process): void {
    this.#world.tell(`${route} ${line.isPaused ? "goes on" : "is paused"}`);
    this.#world.hasHadTrouble = true;
    if (line.isPaused) line.resume();
    else line.pause();
  }

  #doInRequest(request: Request, command: RequestCommand): void {
    const requests = this.#requests;
    switch (command.do) {
      case "read":
        requests.read(request, `o${command.slot}`);
        break;
      case "read all":
        requests.readAll(request);
        break;
      case "assign":
        requests.assign(request, attributeAt(command.slot, request));
        break;
      case "delete":
        requests.delete(request, attributeAt(command.slot, request));
        break;
      case "hold":
        requests.hold(request);
        break;
      case "push":
        requests.push(request, { reads: command.reads });
        break;
      case "count":
        requests.count(request, command.atOnce);
        break;
      case "lock":
        void requests.lock(request);
        break;
      case "release":
        void requests.release(request);
        break;
      case "commit":
        void requests.commit(request);
        break;
      case "save":
        void requests.save(request);
        break;
      case "headers":
        void requests.sendHeaders(request);
        break;
      case "finish":
        void requests.finish(request);
        break;
      case "abort":
        void requests.abort(request);
        break;
      case "destroy":
        void requests.destroy(request);
        break;
      case "reload":
        void requests.reload(request);
        break;
      case "regenerate":
        void requests.regenerate(
          request,
          command.keep === "none" ? "none" : "all",
          command.keep === "all, with grace",
        );
    }
  }

  /** A fault of a node and the end of a process are two, where a session has no more than two copies. */
  get #isOneFaultAtATime(): boolean {
    return this.#world.network.nodes.length > 1;
  }

  /** A sticky session has one backup only: there the balancer must not change its mind in the middle of a fault. */
  get #isBound(): boolean {
    return this.#world.setting.mode === "sticky" && this.#isOneFaultAtATime;
  }

  #balance(choice: number): Process {
    return this.#process(this.#isBound ? this.#owner : choice);
  }

  /** Requests that wait for their session get it, and are answered as well. */
  async #answerAll(): Promise<void> {
    this.#world.goOn();
    for (let tries = 0; tries < 100; tries++) {
      await this.#world.completed(
        Promise.all(
          this.#requests.open.map((request) => !request.isWaiting && this.#requests.finish(request)),
        ),
      );
      if (!this.#requests.areRunning) return;
      await this.#world.turn(100);
    }
    throw new Error("requests wait for ever");
  }

  #process(choice: number): Process {
    const { processes } = this.#world;
    return processes[choice % processes.length]!;
  }

  #kill(process: Process): void {
    this.#world.hasHadTrouble = true;
    this.#requests.forget(process);
    this.#world.replace(process);
  }

  /** Looks for every session with its cookies, in every process. */
  async #audit(): Promise<void> {
    for (const session of this.#world.ledger.sessions) {
      const cookies = [...session.cookies];
      const isOver = session.goneAt < Number.POSITIVE_INFINITY;
      for (const process of this.#world.processes) {
        for (const cookie of isOver ? cookies.slice(0, 2) : cookies.slice(-1))
          await this.#auditOne(session, process, cookie);
      }
    }
  }

  async #auditOne(session: ModelSession, process: Process, cookie: string): Promise<void> {
    // A request that the balancer sends elsewhere makes a process look at the nodes, whatever it has in memory.
    const visitor = { user: session.user, cookie: cookie.replace(/\.\w+$/, ".elsewhere") };
    const request = await this.#world.completed(this.#requests.begin(visitor, process, { lock: true }));
    if (request === undefined) throw new Error("a request was refused though all is well");
    if (request.exchange.session?.isNew === false && !request.exchange.session.isLocked)
      throw new Error("a request did not get the lock though nobody has it");
    const isFound = request.session === session;
    if (isFound && session.goneAt < Number.POSITIVE_INFINITY)
      throw new Error(`session ${session.id.slice(0, 6)} has come back`);
    // LIMIT: a renewal forgets what another process saves, or a request with a copy of its own, while it cannot end the
    // old id as its node does not answer.
    const { mode, processes } = this.#world.setting;
    const isAlone = mode === "sticky" && processes === 1;
    const isForked = session.isRenewal && this.#world.hasHadTrouble && !isAlone;
    if (isFound && !session.endBegun && !isForked)
      this.#world.ledger.checkFinal(session, { ...attributesOf(request) });
    await this.#world.completed(this.#requests.abort(request));
    this.#world.throwViolation();
  }
}

const attributeAt = (slot: number | "own", request: Request) =>
  slot === "own" ? `r${request.number}` : `s${slot}`;
