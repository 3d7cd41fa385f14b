import { MsmError } from "../errors.js";
import type { CommitOptions, CommitResult, SessionExchange } from "../life-cycle/exchange.js";
import { drainSignal } from "./drain-signal.js";
import {
  FoundMethods,
  type Holder,
  hasMethods,
  leadTo,
  type PipeSource,
  putMethods,
  type SendingMethods,
} from "./held-methods.js";
import { type AnyServerResponse, call, type NodeResponse } from "./node-response.js";
import {
  addSessionCookie,
  cookiesOf,
  dropHead,
  isPlainHead,
  type PlainHead,
  takeHead,
  takeStatus,
} from "./response-head.js";
import { headersSentError, type ShowAsItIs, showEnded, showHeadSent } from "./sent-face.js";
import { keepTickShape } from "./tick-shape.js";

/** What `holdResponse` asks of its adapter. */
export interface HoldOptions {
  /**
   * Answers in place of the handler, whose answer is thrown away: the session could not be saved, or Node refused the
   * answer. The response is unsent again, with the error's status; what is sent now goes out without another commit
   * and without a session cookie. Must not throw.
   */
  answerError(error: Error): void;
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
  const held = new HeldResponse(res, exchange, options);
  if (clientIsGone) held.closed();
}

// Requests are what makes most of them.
keepTickShape();

/** How long a handler may go on after its client went away before what is held for it is let go. */
const graceMs = 1000;

/**
 * - `open`: nothing goes out yet, though the head may be decided
 * - `holding`: a commit is under way; what the handler sends waits for it
 * - `passing`: what waited is handed to Node just now, whose methods call one another
 * - `flowing`: the head is out, what is written goes straight on
 * - `ended`: everything was handed to Node
 * - `dropped`: the handler's answer is thrown away, also what it sends from now on
 */
type State = "open" | "holding" | "passing" | "flowing" | "ended" | "dropped";

/** A call that waits. */
class Output {
  readonly method: "flushHeaders" | "write" | "end";
  readonly args: readonly unknown[];

  constructor(method: Output["method"], args: readonly unknown[]) {
    this.method = method;
    this.args = args;
  }
}

const noOutputs: readonly Output[] = [];
const last: CommitOptions = { keepLease: false };
const goingOn: CommitOptions = { keepLease: true };

/** One for each request, most of which wait for nothing: what only others need is made when they do. */
class HeldResponse implements Holder {
  readonly #res: NodeResponse;
  readonly #exchange: SessionExchange;
  readonly #options: HoldOptions;
  /** The methods as we found them: Node's, or those of a middleware before us. */
  readonly #inner: SendingMethods;
  /** What stands on the response unless a middleware behind us has laid others over it. */
  readonly #own: SendingMethods;
  /** Undefined where writers listen to the response itself. */
  readonly #signalDrain: (() => void) | undefined;
  readonly #cookiesBefore: readonly string[];
  #pipes: Set<PipeSource> | undefined;

  #state: State = "open";
  /** Undefined until the head is decided; its headers are on the response, but for `#plainHeaders`. */
  #statusCode: number | undefined;
  /** What `writeHead()` was given, where that may be handed on as it came. */
  #plainHeaders: object | undefined;
  #headIsImplicit = false;
  #headIsOut = false;
  /** That the last commit failed, and the answer goes out all the same. */
  #isUnsaved = false;
  #endIsHeld = false;
  #toldToWait = false;
  #outputs: Output[] | undefined;
  #hideHeadSent: ShowAsItIs | undefined;
  #hideEnded: ShowAsItIs | undefined;
  #grace: NodeJS.Timeout | undefined;
  #over = false;

  constructor(res: NodeResponse, exchange: SessionExchange, options: HoldOptions) {
    this.#res = res;
    this.#exchange = exchange;
    this.#options = options;
    this.#signalDrain = drainSignal(res);
    this.#cookiesBefore = cookiesOf(res);
    this.#inner = new FoundMethods(res);
    this.#own = leadTo(this, res);
  }

  // --- what the handler calls -------------------------------------------------------------------------------------

  writeHead(args: readonly unknown[]): NodeResponse {
    if (this.#state === "dropped") return this.#res;
    if (this.#headIsOut || this.#state === "passing") call(this.#inner.writeHead, this.#res, args);
    else if (this.#statusCode !== undefined) throw headersSentError("write");
    else this.#takeHead(args);
    return this.#res;
  }

  #takeHead(args: readonly unknown[]): void {
    if (this.#headIsImplicit || !isPlainHead(this.#res, args)) this.#statusCode = takeHead(this.#res, args);
    else this.#keepPlainHead(args);
    if (this.#headIsImplicit) return;
    this.#showHeadSent();
    // HTTP/1 sends a head with the first byte of the body, HTTP/2 as soon as it is written.
    if (this.#res.req.httpVersionMajor > 1) this.#hold("flushHeaders", []);
  }

  #keepPlainHead([statusCode, headers]: PlainHead): void {
    this.#statusCode = takeStatus(this.#res, statusCode);
    this.#plainHeaders = { ...headers }; // as they are now
  }

  /** Where the head is not handed on at once after all, its headers go the way of others. */
  #spreadPlainHead(): void {
    const headers = this.#plainHeaders;
    if (headers === undefined) return;
    this.#plainHeaders = undefined;
    this.#showHeadAsItIs();
    takeHead(this.#res, [this.#statusCode, headers]);
    this.#showHeadSent();
  }

  #showHeadSent(): void {
    if (!this.#headIsOut) this.#hideHeadSent ??= showHeadSent(this.#res);
  }

  #showHeadAsItIs(): void {
    this.#hideHeadSent?.(this.#res);
    this.#hideHeadSent = undefined;
  }

  flushHeaders(): void {
    if (this.#state === "dropped") return;
    if (this.#headIsOut || this.#state === "passing") call(this.#inner.flushHeaders!, this.#res, []);
    else this.#hold("flushHeaders", []);
  }

  write(args: readonly unknown[]): unknown {
    if (this.#state === "dropped") return false;
    if (this.#isOpenToNode) return call(this.#inner.write, this.#res, args);

    checkChunk(args[0]);
    this.#hold("write", args);
    this.#toldToWait = true;
    return false;
  }

  get #isOpenToNode(): boolean {
    return this.#state === "passing" || this.#state === "flowing" || this.#state === "ended";
  }

  end(args: readonly unknown[]): unknown {
    if (this.#state === "dropped") return this.#res;
    if (this.#state === "passing") return call(this.#inner.end, this.#res, args);
    if (this.#state === "ended" || this.#endIsHeld) return this.#endAgain(args);

    if (typeof args[0] !== "function" && args[0] !== undefined && args[0] !== null) checkChunk(args[0]);
    this.#decideHead();
    const isFree = this.#state === "open" || this.#state === "flowing";
    const committing = isFree ? this.#commit(last) : undefined;
    this.#endIsHeld = true;
    if (committing === undefined || committing instanceof Promise) this.#holdEnd(args, committing);
    else this.#passOnAtOnce(committing, args);
    return this.#res;
  }

  #holdEnd(args: readonly unknown[], committing: Promise<CommitResult> | undefined): void {
    this.#putOff("end", args);
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
    else this.#putOff("end", onFinish);
    return this.#res;
  }

  #hold(method: Output["method"], args: readonly unknown[]): void {
    this.#decideHead();
    this.#putOff(method, args);
    this.#showHeadSent();
    if (this.#state === "holding") return;
    this.#state = "holding";
    void this.#commitAndPassOn();
  }

  #putOff(method: Output["method"], args: readonly unknown[]): void {
    const output = new Output(method, args);
    if (this.#outputs === undefined) this.#outputs = [output];
    else this.#outputs.push(output);
  }

  /**
   * Has the head decided now, by the outermost `writeHead()`: middlewares that add headers at the last moment do so at
   * the moment they know, and what they put into the session is saved.
   */
  #decideHead(): void {
    if (this.#statusCode !== undefined) return;
    this.#headIsImplicit = true;
    const { statusCode } = this.#res;
    if (this.#res.writeHead === this.#own.writeHead) this.#statusCode = statusCode;
    else call(this.#res.writeHead, this.#res, [statusCode]);
  }

  // --- commit, and what follows from it ---------------------------------------------------------------------------

  /** @param committing a commit that was begun already */
  async #commitAndPassOn(committing?: Promise<CommitResult>): Promise<void> {
    let begun: CommitResult | Promise<CommitResult> | undefined = committing;
    do {
      const endIsCovered = this.#endIsHeld;
      begun ??= this.#commit(endIsCovered || this.#isEventStream() ? last : goingOn);
      let result: CommitResult;
      try {
        result = await begun;
      } catch (thrown) {
        result = failedBy(thrown);
      }
      const trouble = this.#passOnUnless(result, endIsCovered);
      if (trouble !== undefined) return this.#fail(trouble);
      begun = undefined;
    } while (this.#endIsHeld && this.#state === "holding");
  }

  /** An answer in one go, of a handler that changed nothing: as if nobody held it. */
  #passOnAtOnce(result: CommitResult, end: readonly unknown[]): void {
    const trouble = this.#passOnUnless(result, true, end);
    if (trouble === undefined) return;
    // As after a commit that took its time: the handler is done before its error is answered.
    this.#state = "holding";
    queueMicrotask(() => this.#fail(trouble));
  }

  /** @returns why the answer cannot be passed on */
  #passOnUnless(
    { outcome, error }: CommitResult,
    endIsCovered: boolean,
    end?: readonly unknown[],
  ): Error | undefined {
    this.#isUnsaved = outcome === "failed";
    if (this.#isUnsaved && !this.#saysThatItFailed())
      return MsmError.from(error, "MSM_ERR_STORAGE_UNAVAILABLE");
    try {
      this.#passOn(endIsCovered, end);
      return undefined;
    } catch (refusal) {
      // Node throws, e.g., where the body is not as long as the handler's Content-Length says.
      return refusal instanceof Error ? refusal : new Error(String(refusal));
    }
  }

  /** An exchange promises not to reject; one that does all the same must not leave its client without an answer. */
  #commit(options: CommitOptions): CommitResult | Promise<CommitResult> {
    try {
      return this.#exchange.commit(options);
    } catch (thrown) {
      return failedBy(thrown);
    }
  }

  /**
   * What the application answers to an error, such as that of a `destroy()` that fails in the commit once more: it tells
   * nobody that something worked, and its error handlers have had their turn.
   */
  #saysThatItFailed(): boolean {
    return !this.#headIsOut && this.#statusCode !== undefined && this.#statusCode >= 500;
  }

  /** Such a stream lasts as long as its client stays: other requests of the session cannot wait for that. */
  #isEventStream(): boolean {
    this.#spreadPlainHead();
    return /^text\/event-stream/i.test(String(this.#res.getHeader("content-type") ?? ""));
  }

  /**
   * Hands to Node what waited; the end only where everything before it is committed.
   * @param end what `end()` was called with, where that did not wait
   */
  #passOn(endIsCovered: boolean, end?: readonly unknown[]): void {
    this.#showHeadAsItIs();
    // Node calls some of these methods from others, looking them up on the response: it shall find those that we found.
    const overlaid = hasMethods(this.#res, this.#own) ? undefined : new FoundMethods(this.#res);
    if (overlaid !== undefined) putMethods(this.#res, this.#inner);
    this.#state = "passing";
    let takesMore = true;
    try {
      if (!this.#headIsOut) this.#passHeadOn();
      if (end === undefined) takesMore = this.#passOutputsOn(endIsCovered);
      else call(this.#inner.end, this.#res, end);
    } finally {
      this.#state = "holding";
      if (overlaid !== undefined) putMethods(this.#res, overlaid);
    }

    this.#state = endIsCovered ? "ended" : this.#endIsHeld ? "holding" : "flowing";
    if (endIsCovered) this.#letGo();
    else if (takesMore && this.#toldToWait) this.#tellToGoOn();
  }

  #tellToGoOn(): void {
    if (this.#signalDrain === undefined) this.#res.emit("drain");
    else this.#signalDrain();
  }

  #passHeadOn(): void {
    const cookie = this.#isUnsaved ? undefined : this.#exchange.cookie();
    if (cookie !== undefined) this.#addCookie(cookie);
    const statusCode = this.#statusCode ?? this.#res.statusCode;
    // An implicit head is left to Node, which adds the Content-Length where it gets the body in one piece.
    if (this.#headIsImplicit) this.#res.statusCode = statusCode;
    else call(this.#inner.writeHead, this.#res, this.#headToPassOn(statusCode));
    this.#headIsOut = true;
  }

  #headToPassOn(statusCode: number): readonly unknown[] {
    return this.#plainHeaders === undefined ? [statusCode] : [statusCode, this.#plainHeaders];
  }

  #addCookie(cookie: string): void {
    this.#spreadPlainHead();
    this.#showHeadAsItIs();
    addSessionCookie(this.#res, cookie);
  }

  /** @returns whether Node takes more */
  #passOutputsOn(endIsCovered: boolean): boolean {
    let takesMore = true;
    for (const { method, args } of this.#takeOutputs(endIsCovered)) {
      const taken = call(this.#inner[method]!, this.#res, args);
      if (method === "write") takesMore = taken !== false;
    }
    return takesMore;
  }

  #takeOutputs(withEnd: boolean): readonly Output[] {
    const outputs = this.#outputs;
    if (outputs === undefined) return noOutputs;
    const end = withEnd ? -1 : outputs.findIndex(({ method }) => method === "end");
    this.#outputs = end === -1 ? undefined : outputs.slice(end);
    return end === -1 ? outputs : outputs.slice(0, end);
  }

  #fail(error: Error): void {
    this.#letGo();
    if (this.#headIsOut) this.#cut(error);
    else this.#answerInstead(error);
    for (const { method, args } of this.#takeOutputs(true)) {
      const written = args.at(-1);
      if (method === "write" && typeof written === "function") process.nextTick(written, error);
    }
  }

  #cut(error: Error): void {
    this.#state = "ended";
    // Without an error, HTTP/2 would end the stream as if it were complete; with one, HTTP/1 would report a client's.
    this.#res.destroy(this.#res.req.httpVersionMajor > 1 ? error : undefined);
  }

  #answerInstead(error: Error): void {
    this.#state = "dropped";
    this.#spreadPlainHead();
    this.#showHeadAsItIs();
    this.#hideEnded?.(this.#res);
    for (const source of this.#pipes ?? []) source.unpipe?.(this.#res);
    const status = "status" in error && typeof error.status === "number" ? error.status : 500;
    dropHead(this.#res, status, this.#cookiesBefore);
    // The error's answer goes past the middlewares around us: they have begun to transform the dropped one.
    putMethods(this.#res, unlessEnded(this.#res, this.#inner));
    this.#options.answerError(error);
  }

  // --- the end of the exchange ------------------------------------------------------------------------------------

  pipedInto(source: PipeSource): void {
    this.#pipes ??= new Set();
    this.#pipes.add(source);
  }

  /** The client went away, or has its answer. */
  closed(): void {
    if (this.#over || this.#endIsHeld) return;
    this.#grace = setTimeout(() => void this.#letGoOfAborted(), graceMs);
    this.#grace.unref();
  }

  async #letGoOfAborted(): Promise<void> {
    // A client that leaves a stream is the usual end of it, and its handler often never calls end(). A handler that
    // has answered nothing yet may be half way through: what it does is committed when it ends.
    try {
      if (this.#headIsOut && !this.#endIsHeld) await this.#commit({});
    } catch {
      // Nobody is there any more to be told.
    }
    this.#letGo();
  }

  #letGo(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#grace !== undefined) clearTimeout(this.#grace);
    void this.#exchange.end();
  }
}

const failedBy = (thrown: unknown): CommitResult => ({
  outcome: "failed",
  error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE"),
});

/** The methods, but for calls after the end: those are of the dropped handler, and would raise an error event. */
function unlessEnded(
  res: NodeResponse,
  { writeHead, write, end, flushHeaders }: SendingMethods,
): SendingMethods {
  return {
    writeHead,
    flushHeaders,
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
