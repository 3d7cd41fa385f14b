import type { Method, NodeResponse } from "./node-response.js";

/** What answers the calls and the events of a response that is held. */
export interface Holder {
  writeHead(args: readonly unknown[]): unknown;
  write(args: readonly unknown[]): unknown;
  end(args: readonly unknown[]): unknown;
  flushHeaders(): void;
  pipedInto(source: PipeSource): void;
  closed(): void;
}

/** What is piped into a response; old-style streams cannot be unpiped. */
export interface PipeSource {
  unpipe?(destination: NodeResponse): unknown;
}

/** The methods by which an answer goes out. */
export interface SendingMethods {
  readonly writeHead: Method;
  readonly write: Method;
  readonly end: Method;
  /** Undefined with responses that tests make of their own. */
  readonly flushHeaders: Method | undefined;
}

/** The methods that stand on a response now: Node's, or those of a middleware. */
export class FoundMethods implements SendingMethods {
  readonly writeHead: Method;
  readonly write: Method;
  readonly end: Method;
  readonly flushHeaders: Method | undefined;

  constructor(res: NodeResponse) {
    this.writeHead = res.writeHead;
    this.write = res.write;
    this.end = res.end;
    this.flushHeaders = res.flushHeaders;
  }
}

/** Puts methods on a response, but for one that it has not. */
export function putMethods(res: NodeResponse, { writeHead, write, end, flushHeaders }: SendingMethods): void {
  res.writeHead = writeHead;
  res.write = write;
  res.end = end;
  if (res.flushHeaders !== undefined && flushHeaders !== undefined) res.flushHeaders = flushHeaders;
}

/** Whether these are what stands on a response, and no middleware has laid others over them. */
export function hasMethods(
  res: NodeResponse,
  { writeHead, write, end, flushHeaders }: SendingMethods,
): boolean {
  if (res.end !== end || res.write !== write || res.writeHead !== writeHead) return false;
  return res.flushHeaders === flushHeaders || res.flushHeaders === undefined;
}

/** Leads from a response to who holds it. */
const heldBy = Symbol("msm.heldBy");

interface Held {
  [heldBy]?: Holder;
}

/**
 * Leads what is called on a response to who holds it.
 * @returns the methods that stand on it from now on
 */
export function leadTo(holder: Holder, res: NodeResponse & Held): SendingMethods {
  const isHeldAlready = heldBy in res; // as where one framework is mounted in another
  const methods = isHeldAlready ? boundTo({ [heldBy]: holder }) : shared;
  if (!isHeldAlready) res[heldBy] = holder;
  putMethods(res, methods);
  res.on("pipe", methods.onPipe);
  res.on("close", methods.onClose);
  return methods;
}

/**
 * The same functions for all responses: those of its own, each request would have to make, and whoever calls them would meet
 * others each time.
 */
const shared = {
  writeHead(this: Held, ...args: unknown[]): unknown {
    return this[heldBy]!.writeHead(args);
  },
  write(this: Held, ...args: unknown[]): unknown {
    return this[heldBy]!.write(args);
  },
  end(this: Held, ...args: unknown[]): unknown {
    return this[heldBy]!.end(args);
  },
  flushHeaders(this: Held): void {
    this[heldBy]!.flushHeaders();
  },
  onPipe(this: Held, source: PipeSource): void {
    this[heldBy]!.pipedInto(source);
  },
  onClose(this: Held): void {
    this[heldBy]!.closed();
  },
};

function boundTo(held: Held): typeof shared {
  return {
    writeHead: shared.writeHead.bind(held),
    write: shared.write.bind(held),
    end: shared.end.bind(held),
    flushHeaders: shared.flushHeaders.bind(held),
    onPipe: shared.onPipe.bind(held),
    onClose: shared.onClose.bind(held),
  };
}
