import { randomInt } from "node:crypto";
import { connect as connectTcp, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { MsmError } from "../errors.js";
import { BackOff } from "./back-off.js";
import { type Command, plainSender, type SendCommands, tlsSender } from "./command-sender.js";
import type { MemcachedCredentials } from "./memcached-address.js";
import type { Answers, ConnectionMark, MemcachedConnection } from "./memcached-connection.js";
import {
  authentication,
  checkWelcome,
  type MetaExchange,
  type MetaLine,
  MetaReader,
  metaExchange,
  nonsense,
} from "./memcached-meta.js";
import type { MemcachedReply, MemcachedRequest } from "./memcached-requests.js";

export interface MetaAddress {
  readonly host: string;
  readonly port: number;
  /** As node:tls takes them; undefined: no TLS. */
  readonly tls: ConnectionOptions | undefined;
  readonly credentials: MemcachedCredentials | undefined;
}

/**
 * A connection to memcached in the meta protocol. Each TCP connection is an object of its own, so that whatever is known
 * of it ends with it. Where one could not be had it is not tried again at once, see `BackOff`.
 */
export function metaConnection(address: MetaAddress): MemcachedConnection {
  return new MetaConnection(address);
}

const max32Bits = 2 ** 32;

class MetaConnection implements MemcachedConnection {
  readonly #address: MetaAddress;
  readonly #backOff = new BackOff();
  #link: Link | undefined;
  /** Goes on over all connections, so that not even a proxy that mixes them up is believed. */
  #lastNumber = randomInt(1, max32Bits);

  constructor(address: MetaAddress) {
    this.#address = address;
  }

  async ask(requests: readonly MemcachedRequest[], on?: ConnectionMark): Promise<Answers | undefined> {
    if (on && on !== this.#link?.mark) return undefined;
    const exchanges = requests.map((request) => metaExchange(request, this.#nextNumber()));
    const link = this.#link ?? this.#open();
    return link.ask(exchanges);
  }

  drop(error: MsmError): void {
    this.#link?.end(error);
  }

  async end(error: MsmError): Promise<void> {
    const link = this.#link;
    if (!link) return;
    link.end(error);
    await link.closed;
  }

  #open(): Link {
    const tooEarly = this.#backOff.tooEarly();
    if (tooEarly) throw tooEarly;
    const link = new Link(
      this.#address,
      () => this.#backOff.succeeded(),
      (error) => {
        if (this.#link === link) this.#link = undefined;
        this.#backOff.failed(error);
      },
    );
    this.#link = link;
    return link;
  }

  /** Never 0: that is what stands in the flags where the binary protocol wrote. */
  #nextNumber(): number {
    this.#lastNumber = (this.#lastNumber % (max32Bits - 1)) + 1;
    return this.#lastNumber;
  }
}

/** The replies to one `ask()`, as far as they are there. */
interface Batch {
  readonly replies: MemcachedReply[];
  left: number;
  readonly resolve: (answers: Answers) => void;
  readonly reject: (error: MsmError) => void;
}

/** A request that was sent, and where its reply belongs. The server answers in the order of the requests. */
interface Outstanding {
  readonly exchange: MetaExchange;
  readonly batch: Batch;
}

/** One TCP connection, from its first step to its end. */
class Link {
  readonly mark: ConnectionMark = {};
  /** Resolves when the socket is closed. */
  readonly closed: Promise<unknown>;
  readonly #socket: Socket;
  readonly #send: SendCommands;
  readonly #credentials: MemcachedCredentials | undefined;
  readonly #onReply: () => void;
  readonly #onEnd: (error: MsmError) => void;
  readonly #reader = new MetaReader();
  readonly #outstanding: Outstanding[] = [];
  /** What waits until the server is known to be the right one, and knows us. Undefined from then on. */
  #unsent: Command[] | undefined = [];
  #isAuthenticating = false;
  #isOver = false;

  constructor(
    { host, port, tls, credentials }: MetaAddress,
    onReply: () => void,
    onEnd: (error: MsmError) => void,
  ) {
    this.#credentials = credentials;
    this.#onReply = onReply;
    this.#onEnd = onEnd;
    const socket = tls ? connectTls({ ...tls, host, port }) : connectTcp({ host, port });
    this.#socket = socket;
    this.#send = tls ? tlsSender(socket) : plainSender(socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    // Not before the certificate was checked: nothing may reach a server that is another.
    socket.once(tls ? "secureConnect" : "connect", () => this.#greet());
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    for (const event of ["end", "close"]) socket.once(event, () => this.end(hungUp()));
    socket.on("error", (error) => this.end(connectionError(error)));
    this.closed = new Promise((resolve) => socket.once("close", resolve));
  }

  ask(exchanges: readonly MetaExchange[]): Promise<Answers> {
    return new Promise((resolve, reject) => {
      const batch: Batch = { replies: [], left: exchanges.length, resolve, reject };
      for (const exchange of exchanges) this.#outstanding.push({ exchange, batch });
      const commands = exchanges.flatMap((exchange) => exchange.commands);
      if (this.#unsent) this.#unsent.push(...commands);
      else this.#send(commands);
    });
  }

  /** The one place where a connection ends: everything outstanding rejects, and no byte of it is read any more. */
  end(error: MsmError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const socket = this.#socket;
    for (const event of ["connect", "secureConnect", "data", "end", "error"])
      socket.removeAllListeners(event);
    socket.on("error", () => {
      // Nobody uses this socket any more; without a listener its last words would end the process.
    });
    socket.destroy();
    this.#onEnd(error);
    const batches = new Set(this.#outstanding.splice(0).map(({ batch }) => batch));
    for (const { reject } of batches) reject(error);
  }

  #greet(): void {
    if (!this.#credentials) {
      this.#sendUnsent();
      return;
    }
    const { username, password } = this.#credentials;
    this.#isAuthenticating = true;
    this.#send([authentication(username, password)]);
  }

  #sendUnsent(): void {
    const unsent = this.#unsent ?? [];
    this.#unsent = undefined;
    this.#send(unsent);
  }

  #read(chunk: Buffer): void {
    try {
      for (const line of this.#reader.read(chunk)) this.#accept(line);
      // Who says more than it was asked would be believed at the next question.
      if (!this.#isAwaited && !this.#reader.isAtEnd) throw nonsense("it says more than it was asked");
    } catch (thrown) {
      this.end(MsmError.from(thrown, "MSM_ERR_STORAGE_PROTOCOL"));
    }
  }

  get #isAwaited(): boolean {
    return this.#isAuthenticating || this.#outstanding.length > 0;
  }

  #accept(line: MetaLine): void {
    if (this.#isAuthenticating) {
      checkWelcome(line);
      this.#isAuthenticating = false;
      this.#sendUnsent();
      return;
    }
    const front = this.#outstanding[0];
    if (!front || this.#unsent) throw nonsense("it answers what nobody asked");
    const reply = front.exchange.accept(line);
    if (!reply) return;
    this.#outstanding.shift();
    this.#onReply();
    const { batch } = front;
    batch.replies.push(reply);
    batch.left -= 1;
    if (batch.left === 0) batch.resolve({ replies: batch.replies, connection: this.mark });
  }
}

const hungUp = () => new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached closed the connection");

/** What TLS says of bytes that are no TLS is nonsense; the rest is a server that cannot be reached. */
function connectionError(error: Error): MsmError {
  const code = "code" in error ? String(error.code) : "";
  const isNoTls = code === "EPROTO" || code.startsWith("ERR_SSL_");
  return MsmError.from(error, isNoTls ? "MSM_ERR_STORAGE_PROTOCOL" : "MSM_ERR_STORAGE_UNAVAILABLE");
}
