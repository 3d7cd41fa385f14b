import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** Which way bytes go: what the client asks, or what the server answers. */
export type Direction = "requests" | "replies";

/** How a connection ends: politely (FIN) or not (RST). */
export type Ending = "fin" | "rst";

/** A TCP proxy before a server, that harms what goes through it on command. Needs no privileges. */
export interface FaultProxy {
  readonly host: "127.0.0.1";
  readonly port: number;

  /** Ends every fault: what was held goes on in its order, new connections are taken, bytes pass as they come. */
  pass(): void;
  /**
   * A partition: bytes are kept, and delivered in their order by `pass()`; also those whose sender has hung up since,
   * as a network would. Default: both ways.
   */
  hold(...directions: Direction[]): void;
  /** New connections are reset at once. Those that are open stay open. */
  refuse(): void;
  /** Bytes take `ms` milliseconds longer each way. */
  delay(ms: number): void;
  /** At most `bytes` are passed on at a time, each way. */
  chunk(bytes: number): void;
  /** Once: after this many more bytes of replies, on all connections together, the connection that carries them ends. */
  cutAfter(replyBytes: number, ending: Ending): void;
  /** Ends all open connections, now. */
  endAll(ending: Ending): void;

  /** Connections that are open now, on either side. */
  readonly open: number;
  /** Connections that clients opened since the start. */
  readonly accepted: number;
  /** Bytes that were passed on since the start. */
  readonly passed: Readonly<Record<Direction, number>>;

  /** Ends the proxy and all connections. */
  close(): Promise<void>;
}

/** Starts a proxy before a port of 127.0.0.1. */
export async function startFaultProxy(targetPort: number): Promise<FaultProxy> {
  const proxy = new ProxyServer(targetPort);
  await proxy.listen();
  return proxy;
}

/** What is wrong with the network at the moment. */
interface Faults {
  held: ReadonlySet<Direction>;
  isRefusing: boolean;
  delayMs: number;
  chunkBytes: number;
  cut: { repliesLeft: number; readonly ending: Ending } | undefined;
  readonly passed: Record<Direction, number>;
}

class ProxyServer implements FaultProxy {
  readonly host = "127.0.0.1";
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #faults: Faults = {
    held: new Set(),
    isRefusing: false,
    delayMs: 0,
    chunkBytes: Number.POSITIVE_INFINITY,
    cut: undefined,
    passed: { requests: 0, replies: 0 },
  };
  #accepted = 0;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return address.port;
  }

  pass(): void {
    this.#set({ held: new Set(), isRefusing: false, delayMs: 0, chunkBytes: Number.POSITIVE_INFINITY });
    this.#faults.cut = undefined;
  }

  hold(...directions: Direction[]): void {
    this.#set({ held: new Set(directions.length > 0 ? directions : ["requests", "replies"]) });
  }

  refuse(): void {
    this.#set({ isRefusing: true });
  }

  delay(ms: number): void {
    this.#set({ delayMs: ms });
  }

  chunk(bytes: number): void {
    this.#set({ chunkBytes: bytes });
  }

  cutAfter(replyBytes: number, ending: Ending): void {
    this.#faults.cut = { repliesLeft: replyBytes, ending };
  }

  endAll(ending: Ending): void {
    for (const link of this.#links) link.end(ending);
  }

  get open(): number {
    return this.#links.size;
  }

  get accepted(): number {
    return this.#accepted;
  }

  get passed(): Readonly<Record<Direction, number>> {
    return this.#faults.passed;
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.end("rst");
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  #set(faults: Partial<Faults>): void {
    Object.assign(this.#faults, faults);
    for (const link of this.#links) link.goOn();
  }

  #accept(client: Socket): void {
    this.#accepted += 1;
    if (this.#faults.isRefusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: this.#targetPort, host: "127.0.0.1", allowHalfOpen: true });
    const link = new Link(client, server, this.#faults, () => this.#links.delete(link));
    this.#links.add(link);
  }
}

/** A client's connection, and the one to the server that belongs to it. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #requests: Pipe;
  readonly #replies: Pipe;

  constructor(client: Socket, server: Socket, faults: Faults, onClosed: () => void) {
    this.#client = client;
    this.#server = server;
    this.#requests = new Pipe("requests", client, server, faults, (ending) => this.end(ending));
    this.#replies = new Pipe("replies", server, client, faults, (ending) => this.end(ending));
    let open = 2;
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.once("close", () => {
        open -= 1;
        if (open === 0) onClosed();
      });
    }
  }

  goOn(): void {
    this.#requests.goOn();
    this.#replies.goOn();
  }

  end(ending: Ending): void {
    if (ending === "fin") this.#client.end();
    else if (!this.#client.destroyed) reset(this.#client);
    this.#server.destroy();
  }
}

/** Where the FIN has been asked for, libuv refuses to reset, and the socket would never close. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** What lies in a pipe: bytes, or the news that the sender ended its side. */
type Item = { readonly dueMs: number } & (
  | { readonly kind: "bytes"; readonly bytes: Buffer }
  | { readonly kind: Ending }
);

/** One way through the proxy. */
class Pipe {
  readonly #direction: Direction;
  readonly #target: Socket;
  readonly #faults: Faults;
  readonly #cut: (ending: Ending) => void;
  readonly #items: Item[] = [];
  #isWaiting = false;

  constructor(
    direction: Direction,
    source: Socket,
    target: Socket,
    faults: Faults,
    cut: (ending: Ending) => void,
  ) {
    this.#direction = direction;
    this.#target = target;
    this.#faults = faults;
    this.#cut = cut;
    source.on("data", (bytes) => this.#put({ kind: "bytes", bytes, dueMs: this.#dueMs() }));
    source.on("end", () => this.#put({ kind: "fin", dueMs: this.#dueMs() }));
    // An error is told to the other side as a reset, when its turn comes.
    source.on("error", () => this.#put({ kind: "rst", dueMs: this.#dueMs() }));
  }

  /** Passes on whatever may go now. */
  goOn(): void {
    while (!this.#isWaiting && this.#items.length > 0 && !this.#faults.held.has(this.#direction)) {
      const item = this.#items[0]!;
      const waitMs = item.dueMs - performance.now();
      if (waitMs > 0) {
        this.#isWaiting = true;
        setTimeout(() => this.#awake(), waitMs);
        return;
      }
      this.#items.shift();
      if (item.kind === "bytes") this.#passOn(item.bytes);
      else if (item.kind === "fin") this.#target.end();
      else if (!this.#target.destroyed) reset(this.#target);
    }
  }

  #put(item: Item): void {
    this.#items.push(item);
    this.goOn();
  }

  #passOn(bytes: Buffer): void {
    const part = bytes.subarray(0, this.#faults.chunkBytes);
    if (part.length < bytes.length) {
      this.#items.unshift({ kind: "bytes", bytes: bytes.subarray(part.length), dueMs: 0 });
      // Through the event loop, so that the receiver really gets them apart.
      this.#isWaiting = true;
      setImmediate(() => this.#awake());
    }
    const { cut } = this.#faults;
    if (cut && this.#direction === "replies") {
      if (part.length >= cut.repliesLeft) {
        this.#faults.cut = undefined;
        this.#items.length = 0;
        this.#isWaiting = true;
        this.#write(part.subarray(0, cut.repliesLeft));
        // A reset overtakes what the receiver has not read yet; the moment lets it read.
        setTimeout(() => this.#cut(cut.ending), 1);
        return;
      }
      cut.repliesLeft -= part.length;
    }
    this.#write(part);
  }

  #write(bytes: Buffer): void {
    this.#faults.passed[this.#direction] += bytes.length;
    if (this.#target.writable) this.#target.write(bytes);
  }

  #awake(): void {
    this.#isWaiting = false;
    this.goOn();
  }

  #dueMs(): number {
    return Math.max(performance.now() + this.#faults.delayMs, this.#items.at(-1)?.dueMs ?? 0);
  }
}
