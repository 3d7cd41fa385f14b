import { waitUntil } from "@msm/conformance";
import type { Ledger } from "../history/ledger.js";
import type { FinalState, Operation, OperationKind, Outcome, Reply } from "../history/operation.js";
import type { Policy } from "../history/policies.js";
import { askWorker, type HttpAnswer } from "../processes/http-answer.js";
import type { Balancer } from "./balancer.js";
import type { WorkerProcess } from "./worker-process.js";

/** What an operation asks of its handler. */
export interface AskOptions {
  /** Milliseconds between reading the session and writing it. */
  readonly thinkMs: number;
  /** Whether the worker is to tell when the handler runs. Default false. */
  readonly tells?: boolean;
}

/** An operation under way. */
export interface Asked {
  readonly id: string;
  readonly worker: WorkerProcess;
  /** Resolves when the ledger has it. Never rejects. */
  readonly answered: Promise<Operation>;
}

/** Errors that say for sure that nothing came of the request. */
const refusals = new Set(["MSM_ERR_CONFLICT", "MSM_ERR_LOCK_TIMEOUT", "MSM_ERR_LOCK_QUEUE_FULL"]);

/** Much longer than any lease, lock or fault lasts. */
const patienceMs = 20_000;

/** A session as its clients have it: tabs of one browser, with one cookie. */
export class CheckedSession {
  /** What the handlers find in it, and the first part of its operations' ids. */
  readonly name: string;
  readonly policy: Policy;
  readonly #balancer: Balancer;
  readonly #ledger: Ledger;
  readonly #open = new Set<Promise<Operation>>();
  #cookie: string | undefined;
  #asked = 0;

  constructor(name: string, policy: Policy, balancer: Balancer, ledger: Ledger) {
    this.name = name;
    this.policy = policy;
    this.#balancer = balancer;
    this.#ledger = ledger;
  }

  /** The worker that the balancer chooses now. */
  worker(): WorkerProcess {
    return this.#balancer.workerFor(this.#cookie?.split(".")[1]);
  }

  /** Makes the session. Many processes start at once, so that the first tries may fail. @throws Error where all do */
  async begin(): Promise<void> {
    await waitUntil(`${this.name} has begun`, async () => {
      const answer = await this.#send(this.worker(), "POST", `begin?session=${this.name}`);
      return answer.kind === "whole" && answer.status === 200;
    });
  }

  /** What the session holds, as one worker sees it. @throws Error where it does not say */
  async state(worker: WorkerProcess): Promise<FinalState> {
    const answer = await this.#send(worker, "GET", "state");
    if (answer.kind === "whole" && answer.status === 200) return JSON.parse(answer.body) as FinalState;
    throw new Error(`${worker.name} does not say what ${this.name} holds: ${JSON.stringify(answer)}`);
  }

  /** Sends an operation; the ledger gets what comes of it. */
  ask(kind: OperationKind, { thinkMs, tells = false }: AskOptions): Asked {
    this.#asked += 1;
    const worker = this.worker();
    const id = `${this.name}:${worker.name}:${this.#asked}`;
    const answered = this.#operate(worker, kind, id, `thinkMs=${thinkMs}${tells ? "&tells" : ""}`);
    this.#open.add(answered);
    void answered.then(() => this.#open.delete(answered));
    return { id, worker, answered };
  }

  /** Resolves when nothing is under way any more. */
  async quiet(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open);
  }

  async #operate(worker: WorkerProcess, kind: OperationKind, id: string, query: string): Promise<Operation> {
    const startedMs = performance.now();
    const answer = await this.#send(worker, "POST", `${kind}?id=${id}&${query}`);
    const outcome = outcomeOf(answer);
    const operation = { id, session: this.name, kind, startedMs, endedMs: performance.now(), outcome };
    this.#ledger.record(operation);
    return operation;
  }

  async #send(worker: WorkerProcess, method: string, path: string): Promise<HttpAnswer> {
    const answer = await askWorker(worker.line, {
      method,
      path: `/${this.policy}/${path}`,
      cookie: this.#cookie === undefined ? undefined : `sid=${this.#cookie}`,
      patienceMs,
    });
    if (answer.kind === "whole") this.#keepCookie(answer.setCookies);
    return answer;
  }

  #keepCookie(setCookies: readonly string[]): void {
    for (const setCookie of setCookies) this.#cookie = /^sid=([^;]+)/.exec(setCookie)?.[1] ?? this.#cookie;
  }
}

function outcomeOf(answer: HttpAnswer): Outcome {
  if (answer.kind === "broken") {
    const { why } = answer;
    return answer.wasSent ? { kind: "indeterminate", why } : { kind: "refused", code: why };
  }
  if (answer.status === 200) return { kind: "acknowledged", reply: JSON.parse(answer.body) as Reply };
  const { code } = JSON.parse(answer.body) as { code: string };
  return refusals.has(code) ? { kind: "refused", code } : { kind: "indeterminate", why: code };
}
