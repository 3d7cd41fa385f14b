import { MsmError } from "../errors.js";
import type { CommitOptions, CommitResult, SessionExchange } from "../life-cycle/exchange.js";
import { drainSignal } from "./drain-signal.js";
import { type AnyServerResponse, call, type Method, type NodeResponse } from "./node-response.js";
import { addSessionCookie, cookiesOf, dropHead, takeHead } from "./response-head.js";
import { headersSentError, showEnded, showHeadSent } from "./sent-face.js";

/** What `holdResponse` asks of its adapter. */
export interface HoldOptions {
  /**
   * Answers in place of the handler, whose answer is thrown away: the session could not be saved, or Node refused the
   * answer. The response is unsent again, with the error's status; what is sent now goes out without another commit
   * and without a session cookie. Must not throw.
   */
  readonly answerError: (error: Error) => void;
}

/**
 * Keeps an answer from the wire, headers included, until the session is committed.
 *
 * An answer that ends in one go is committed once. One that is flushed before it ends is committed when its head
 * would go out, and again at its end; until then it keeps its session to itself, if it has it so, unless it is a stream of
 * events. Where the commit fails, the client gets what `answerError` answers, or, if
 * bytes are out already, a connection that is cut. An answer of 500 and above stands, without the session's cookie. `exchange.end()` is called once: when the answer is handed to Node,
 * or at the latest a second after the client went away.
 *
 * Call it once per response, before anything is written.
 */
export function holdResponse(res: AnyServerResponse, exchange: SessionExchange, options: HoldOptions): void {
  const clientIsGone = "stream" in res ? res.stream.destroyed : res.destroyed;
  new HeldResponse(res, exchange, options).begin(clientIsGone);
}

/** How long a handler may go on after its client went away before what is held for it is let go. */
const graceMs = 1000;

/**
 * - `open`: nothing goes out yet, though the head may be decided
 * - `holding`: a commit is under way; what the handler sends waits for it
 * - `flowing`: the head is out, what is written goes straight on
 * - `ended`: everything was handed to Node
 * - `dropped`: the handler's answer is thrown away, also what it sends from now on
 */
type State = "open" | "holding" | "flowing" | "ended" | "dropped";

/** A call that waits. */
interface Output {
  readonly method: "flushHeaders" | "write" | "end";
  readonly args: readonly unknown[];
}

/** What is piped into a response; old-style streams cannot be unpiped. */
interface PipeSource {
  unpipe?(destination: NodeResponse): unknown;
}

type SendingMethods = Pick<NodeResponse, "writeHead" | "write" | "end" | "flushHeaders">;

class HeldResponse {
  readonly #res: NodeResponse;
  readonly #exchange: SessionExchange;
  readonly #answerError: (error: Error) => void;
  /** The methods as we found them: Node's, or those of a middleware before us. */
  readonly #inner: SendingMethods;
  readonly #signalDrain: () => void;
  readonly #cookiesBefore: readonly string[];
  readonly #isHttp2: boolean;
  readonly #pipes = new Set<PipeSource>();

  #state: State = "open";
  /** Undefined until the head is decided; its headers are on the response. */
  #statusCode: number | undefined;
  #headIsImplicit = false;
  #headIsOut = false;
  /** That the last commit failed, and the answer goes out all the same. */
  #isUnsaved = false;
  #endIsHeld = false;
  #toldToWait = false;
  #outputs: Output[] = [];
  #hideHeadSent: (() => void) | undefined;
  #hideEnded: (() => void) | undefined;
  #grace: NodeJS.Timeout | undefined;
  #over = false;
  /** What stands on the response unless a middleware behind us has laid another over it. */
  #ownWriteHead: Method | undefined;

  constructor(res: AnyServerResponse, exchange: SessionExchange, { answerError }: HoldOptions) {
    this.#res = res;
    this.#exchange = exchange;
    this.#answerError = answerError;
    this.#inner = sendingMethodsOf(this.#res);
    this.#signalDrain = drainSignal(this.#res);
    this.#cookiesBefore = cookiesOf(this.#res);
    this.#isHttp2 = res.req.httpVersionMajor > 1;
  }

  begin(clientIsGone: boolean): void {
    const res = this.#res;
    this.#ownWriteHead = (...args: unknown[]) => this.#writeHead(args);
    res.writeHead = this.#ownWriteHead;
    res.write = (...args: unknown[]) => this.#write(args);
    res.end = (...args: unknown[]) => this.#end(args);
    if (this.#inner.flushHeaders !== undefined) res.flushHeaders = () => this.#flushHeaders();
    res.on("pipe", (source: PipeSource) => void this.#pipes.add(source));
    if (clientIsGone) this.#clientWentAway();
    else res.once("close", () => this.#clientWentAway());
  }

  // --- what the handler calls -------------------------------------------------------------------------------------

  #writeHead(args: readonly unknown[]): NodeResponse {
    if (this.#state === "dropped") return this.#res;
    if (this.#headIsOut) call(this.#inner.writeHead, this.#res, args);
    else if (this.#statusCode !== undefined) throw headersSentError("write");
    else this.#takeHead(args);
    return this.#res;
  }

  #takeHead(args: readonly unknown[]): void {
    this.#statusCode = takeHead(this.#res, args);
    if (!this.#headIsImplicit) this.#showHeadSent();
    // HTTP/1 sends a head with the first byte of the body, HTTP/2 as soon as it is written.
    if (this.#isHttp2 && !this.#headIsImplicit) this.#hold("flushHeaders", []);
  }

  #showHeadSent(): void {
    if (!this.#headIsOut) this.#hideHeadSent ??= showHeadSent(this.#res);
  }

  #flushHeaders(): void {
    if (this.#state === "dropped") return;
    if (this.#headIsOut) call(this.#inner.flushHeaders!, this.#res, []);
    else this.#hold("flushHeaders", []);
  }

  #write(args: readonly unknown[]): unknown {
    if (this.#state === "dropped") return false;
    if (this.#state === "flowing" || this.#state === "ended") return call(this.#inner.write, this.#res, args);

    checkChunk(args[0]);
    this.#hold("write", args);
    this.#toldToWait = true;
    return false;
  }

  #end(args: readonly unknown[]): NodeResponse {
    if (this.#state === "dropped") return this.#res;
    if (this.#state === "ended" || this.#endIsHeld) return this.#endAgain(args);

    if (typeof args[0] !== "function" && args[0] !== undefined && args[0] !== null) checkChunk(args[0]);
    this.#decideHead();
    const isFree = this.#state === "open" || this.#state === "flowing";
    const committing = isFree ? this.#commit({ keepLease: false }) : undefined;
    this.#endIsHeld = true;
    this.#outputs.push({ method: "end", args });
    if (committing !== undefined && !(committing instanceof Promise)) this.#passOnAtOnce(committing);
    else this.#holdEnd(committing);
    return this.#res;
  }

  #holdEnd(committing: Promise<CommitResult> | undefined): void {
    this.#hideEnded = showEnded(this.#res);
    this.#showHeadSent();
    if (this.#state === "holding") return;
    this.#state = "holding";
    void this.#commitAndPassOn(committing);
  }

  /** Node raises an error event at a second `end(chunk)`, which would end the process. The chunk never counted. */
  #endAgain(args: readonly unknown[]): NodeResponse {
    const onFinish = args.filter((arg) => typeof arg === "function");
    if (this.#state === "ended") call(this.#inner.end, this.#res, onFinish);
    else this.#outputs.push({ method: "end", args: onFinish });
    return this.#res;
  }

  #hold(method: Output["method"], args: readonly unknown[]): void {
    this.#decideHead();
    this.#outputs.push({ method, args });
    this.#showHeadSent();
    if (this.#state === "holding") return;
    this.#state = "holding";
    void this.#commitAndPassOn();
  }

  /**
   * Has the head decided now, by the outermost `writeHead()`: middlewares that add headers at the last moment do so at
   * the moment they know, and what they put into the session is saved.
   */
  #decideHead(): void {
    if (this.#statusCode !== undefined) return;
    this.#headIsImplicit = true;
    const { statusCode } = this.#res;
    if (this.#res.writeHead === this.#ownWriteHead) this.#statusCode = statusCode;
    else call(this.#res.writeHead, this.#res, [statusCode]);
  }

  // --- commit, and what follows from it ---------------------------------------------------------------------------

  /** @param committing a commit that was begun already */
  async #commitAndPassOn(committing?: Promise<CommitResult>): Promise<void> {
    let begun: CommitResult | Promise<CommitResult> | undefined = committing;
    do {
      const endIsCovered = this.#endIsHeld;
      begun ??= this.#commit({ keepLease: !endIsCovered && !this.#isEventStream });
      const trouble = this.#passOnUnless(await begun, endIsCovered);
      if (trouble !== undefined) return this.#fail(trouble);
      begun = undefined;
    } while (this.#endIsHeld && this.#state === "holding");
  }

  /** An answer in one go, of a handler that changed nothing: as if nobody held it. */
  #passOnAtOnce(result: CommitResult): void {
    const trouble = this.#passOnUnless(result, true);
    if (trouble === undefined) return;
    // As after a commit that took its time: the handler is done before its error is answered.
    this.#state = "holding";
    queueMicrotask(() => this.#fail(trouble));
  }

  /** @returns why the answer cannot be passed on */
  #passOnUnless({ outcome, error }: CommitResult, endIsCovered: boolean): Error | undefined {
    this.#isUnsaved = outcome === "failed";
    if (this.#isUnsaved && !this.#saysThatItFailed)
      return MsmError.from(error, "MSM_ERR_STORAGE_UNAVAILABLE");
    try {
      this.#passOn(endIsCovered);
      return undefined;
    } catch (refusal) {
      // Node throws, e.g., where the body is not as long as the handler's Content-Length says.
      return refusal instanceof Error ? refusal : new Error(String(refusal));
    }
  }

  /** An exchange promises not to reject; one that does all the same must not leave its client without an answer. */
  #commit(options: CommitOptions): CommitResult | Promise<CommitResult> {
    try {
      const committing = this.#exchange.commit(options);
      return committing instanceof Promise ? committing.catch(failedBy) : committing;
    } catch (thrown) {
      return failedBy(thrown);
    }
  }

  /**
   * What the application answers to an error, such as that of a `destroy()` that fails in the commit once more: it tells
   * nobody that something worked, and its error handlers have had their turn.
   */
  get #saysThatItFailed(): boolean {
    return !this.#headIsOut && this.#statusCode !== undefined && this.#statusCode >= 500;
  }

  /** Such a stream lasts as long as its client stays: other requests of the session cannot wait for that. */
  get #isEventStream(): boolean {
    return /^text\/event-stream/i.test(String(this.#res.getHeader("content-type") ?? ""));
  }

  /** Hands to Node what waited; the end only where everything before it is committed. */
  #passOn(endIsCovered: boolean): void {
    this.#hideHeadSent?.();
    this.#hideHeadSent = undefined;
    const takesMore = withMethods(this.#res, this.#inner, () => {
      if (!this.#headIsOut) this.#passHeadOn();
      return this.#passOutputsOn(endIsCovered);
    });

    this.#state = endIsCovered ? "ended" : this.#endIsHeld ? "holding" : "flowing";
    if (endIsCovered) this.#letGo();
    else if (takesMore && this.#toldToWait) this.#signalDrain();
  }

  #passHeadOn(): void {
    const cookie = this.#isUnsaved ? undefined : this.#exchange.cookie();
    if (cookie !== undefined) addSessionCookie(this.#res, cookie);
    const statusCode = this.#statusCode ?? this.#res.statusCode;
    // An implicit head is left to Node, which adds the Content-Length where it gets the body in one piece.
    if (this.#headIsImplicit) this.#res.statusCode = statusCode;
    else call(this.#inner.writeHead, this.#res, [statusCode]);
    this.#headIsOut = true;
  }

  /** @returns whether Node takes more */
  #passOutputsOn(endIsCovered: boolean): boolean {
    const end = this.#outputs.findIndex(({ method }) => method === "end");
    const passed = this.#outputs.splice(0, endIsCovered || end === -1 ? this.#outputs.length : end);
    let takesMore = true;
    for (const { method, args } of passed) {
      const taken = call(this.#inner[method]!, this.#res, args);
      if (method === "write") takesMore = taken !== false;
    }
    return takesMore;
  }

  #fail(error: Error): void {
    this.#letGo();
    if (this.#headIsOut) this.#cut(error);
    else this.#answerInstead(error);
    for (const { method, args } of this.#outputs.splice(0)) {
      const written = args.at(-1);
      if (method === "write" && typeof written === "function") process.nextTick(written, error);
    }
  }

  #cut(error: Error): void {
    this.#state = "ended";
    // Without an error, HTTP/2 would end the stream as if it were complete; with one, HTTP/1 would report a client's.
    this.#res.destroy(this.#isHttp2 ? error : undefined);
  }

  #answerInstead(error: Error): void {
    this.#state = "dropped";
    this.#hideHeadSent?.();
    this.#hideEnded?.();
    for (const source of this.#pipes) source.unpipe?.(this.#res);
    const status = "status" in error && typeof error.status === "number" ? error.status : 500;
    dropHead(this.#res, status, this.#cookiesBefore);
    // The error's answer goes past the middlewares around us: they have begun to transform the dropped one.
    Object.assign(this.#res, unlessEnded(this.#res, this.#inner));
    this.#answerError(error);
  }

  // --- the end of the exchange ------------------------------------------------------------------------------------

  #clientWentAway(): void {
    if (this.#over || this.#endIsHeld) return;
    this.#grace = setTimeout(() => void this.#letGoOfAborted(), graceMs);
    this.#grace.unref();
  }

  async #letGoOfAborted(): Promise<void> {
    // A client that leaves a stream is the usual end of it, and its handler often never calls end(). A handler that
    // has answered nothing yet may be half way through: what it does is committed when it ends.
    if (this.#headIsOut && !this.#endIsHeld) await this.#commit({});
    this.#letGo();
  }

  #letGo(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#grace);
    void this.#exchange.end();
  }
}

const failedBy = (thrown: unknown): CommitResult => ({
  outcome: "failed",
  error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE"),
});

function sendingMethodsOf({ writeHead, write, end, flushHeaders }: NodeResponse): SendingMethods {
  return { writeHead, write, end, ...(flushHeaders === undefined ? {} : { flushHeaders }) };
}

/** Node calls some of these methods from others, looking them up on the response: in `run` it finds `methods`. */
function withMethods<T>(res: NodeResponse, methods: SendingMethods, run: () => T): T {
  const { writeHead, write, end, flushHeaders } = res;
  putMethods(res, methods.writeHead, methods.write, methods.end, methods.flushHeaders);
  try {
    return run();
  } finally {
    putMethods(res, writeHead, write, end, flushHeaders);
  }
}

function putMethods(
  res: NodeResponse,
  writeHead: Method,
  write: Method,
  end: Method,
  flushHeaders: Method | undefined,
): void {
  res.writeHead = writeHead;
  res.write = write;
  res.end = end;
  if (flushHeaders !== undefined) res.flushHeaders = flushHeaders;
}

/** The methods, but for calls after the end: those are of the dropped handler, and would raise an error event. */
function unlessEnded(res: NodeResponse, { write, end, ...others }: SendingMethods): SendingMethods {
  return {
    ...others,
    write: (...args: unknown[]) => !res.writableEnded && call(write, res, args),
    end: (...args: unknown[]) => (res.writableEnded ? res : call(end, res, args)),
  };
}

/** Throws what Node throws at a chunk that it does not take; later nobody would be there to catch it. */
function checkChunk(chunk: unknown): void {
  if (typeof chunk === "string" || chunk instanceof Uint8Array) return;
  if (chunk === null) {
    throw Object.assign(new TypeError("May not write null values to stream"), {
      code: "ERR_STREAM_NULL_VALUES",
    });
  }
  throw Object.assign(new TypeError("The chunk must be a string, a Buffer or a Uint8Array"), {
    code: "ERR_INVALID_ARG_TYPE",
  });
}
