import { once } from "node:events";
import type { Socket } from "node:net";
import type { Server as MemjsServer } from "memjs";
import { MsmError } from "../errors.js";
import {
  encodeRequest,
  type MemcachedReply,
  type MemcachedRequest,
  opcode,
  ReplyReader,
  status,
} from "./memcached-protocol.js";

export interface MemcachedAddress {
  readonly host: string;
  readonly port: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/**
 * Names one TCP connection, by identity. A CAS id is worth something only on the connection it was read on: a memcached
 * that restarted counts its CAS ids from 1 again.
 */
export type ConnectionMark = object;

/** The answers to one `ask()`, in the order of the requests, and the connection they came on. */
export interface Answers {
  readonly replies: readonly MemcachedReply[];
  readonly connection: ConnectionMark;
}

/** One connection to memcached, opened when it is first needed, and again after it was dropped. */
export interface MemcachedConnection {
  /**
   * Sends requests in one go, so that they cost one round trip and are carried out in their order.
   *
   * @param on sends only on this connection
   * @returns undefined where `on` is not the connection any more; nothing was sent then
   * @throws MsmError MSM_ERR_STORAGE_UNAVAILABLE, MSM_ERR_STORAGE_PROTOCOL, or that of `drop()`
   */
  ask(requests: readonly MemcachedRequest[], on?: ConnectionMark): Promise<Answers | undefined>;
  /** Ends the connection with all its state; what is outstanding rejects with `error`. */
  drop(error: MsmError): void;
  /** Like `drop()`; resolves when the socket is closed. */
  end(error: MsmError): Promise<void>;
}

/**
 * Makes memjs' server safe to share between requests.
 *
 * memjs 1.3.2 (lib/memjs/server.js) keeps half a reply when a connection dies and puts it before the bytes of the next
 * one; on a timeout it leaves the old socket's listener in place, so that bytes of two connections mix and a key's
 * value reaches another key's reader; and where the server closes politely its requests never settle. It also wraps
 * its request numbers into negative ones, which it cannot write. So memjs connects and authenticates, and here a
 * connection that dies loses all of its state in one place, replies are parsed, and each has to answer a request of
 * this very connection.
 *
 * Deadlines are the caller's: it drops the connection when one passes.
 */
export function guardedConnection(
  Server: typeof MemjsServer,
  address: MemcachedAddress,
  connectTimeoutMs: number,
): MemcachedConnection {
  const GuardedServer = guard(Server);
  return new GuardedServer(address, connectTimeoutMs);
}

/** A request that was sent, and who waits for its reply. */
interface Outstanding {
  readonly opcode: number;
  readonly resolve: (reply: MemcachedReply) => void;
  readonly reject: (error: MsmError) => void;
}

function guard(Server: typeof MemjsServer) {
  return class GuardedServer extends Server implements MemcachedConnection {
    // Members of memjs that its types hide or make read-only.
    declare _socket?: Socket | undefined;
    declare connected: boolean;
    declare username: string | undefined;
    declare password: string | undefined;

    #socket: Socket | undefined;
    #connection: ConnectionMark = {};
    #reader = new ReplyReader();
    #outstanding = new Map<number, Outstanding>();
    #lastOpaque = 0;

    constructor(address: MemcachedAddress, connectTimeoutMs: number) {
      super(address.host, address.port, "", "", {
        conntimeout: connectTimeoutMs / 1000,
        keepAlive: true,
        keepAliveDelay: 10,
      });
      // memjs would take them from MEMCACHIER_USERNAME and the like, which may be meant for another server.
      this.username = address.username;
      this.password = address.password;
    }

    async ask(requests: readonly MemcachedRequest[], on?: ConnectionMark): Promise<Answers | undefined> {
      if (on && (on !== this.#connection || !this.connected)) return undefined;
      const firstOpaque = this.#lastOpaque + 1;
      const frames = requests.map((request, index) => encodeRequest(request, (firstOpaque + index) >>> 0));
      const replies = requests.map((request, index) => this.#replyTo(request, (firstOpaque + index) >>> 0));
      this.#lastOpaque = (this.#lastOpaque + requests.length) >>> 0;
      this.write(Buffer.concat(frames));
      // Opened by write() where there was none. It is the one that answers: another's replies are never accepted.
      const connection = this.#connection;
      return { replies: await Promise.all(replies), connection };
    }

    drop(error: MsmError): void {
      this.error(error);
    }

    async end(error: MsmError): Promise<void> {
      const socket = this.#socket;
      const closed = socket && once(socket, "close");
      this.error(error);
      await closed;
    }

    /** memjs' own would set timers that any byte from the server starts anew. */
    override write(bytes: Uint8Array): void {
      this.sock(false, (socket) => socket.write(bytes));
    }

    override sock(forSasl: boolean, go: (socket: Socket) => void): void {
      const before = this._socket;
      super.sock(forSasl, go);
      const socket = this._socket;
      if (!socket || socket === before) return;
      this.#socket = socket;
      this.#connection = {};
      this.#reader = new ReplyReader();
      socket.setNoDelay(true);
      // memjs' own forgets the socket and leaves its requests waiting.
      socket.removeAllListeners("close");
      socket.once("close", () => {
        if (this.#socket === socket) {
          this.error(new MsmError("MSM_ERR_STORAGE_UNAVAILABLE", "memcached closed the connection"));
        }
      });
    }

    /** The one place where a connection dies. memjs calls it too, on its errors, with an error or a string. */
    override error(thrown: unknown): void {
      const error = MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE");
      const socket = this.#socket;
      this.#socket = undefined;
      this._socket = undefined;
      this.connected = false;
      this.#connection = {};
      this.#reader = new ReplyReader();
      this.removeAllListeners("authenticated");
      if (socket) {
        for (const event of ["connect", "data", "timeout", "error"]) socket.removeAllListeners(event);
        socket.on("error", () => {
          // Nobody uses this socket any more; without a listener its last words would end the process.
        });
        socket.destroy();
      }
      super.error(error); // forgets who waits for the connection
      const outstanding = this.#outstanding;
      this.#outstanding = new Map();
      for (const { reject } of outstanding.values()) reject(error);
    }

    override responseHandler(chunk: Buffer): void {
      const connection = this.#connection;
      try {
        for (const reply of this.#reader.read(chunk)) {
          if (this.#connection === connection) this.#accept(reply);
        }
      } catch (thrown) {
        this.error(MsmError.from(thrown, "MSM_ERR_STORAGE_PROTOCOL"));
      }
    }

    #accept(reply: MemcachedReply): void {
      if (reply.opcode === opcode.saslMechanisms) this.saslAuth();
      else if (reply.opcode === opcode.saslAuthenticate) this.#acceptAuthentication(reply);
      else this.#hand(reply);
    }

    #hand(reply: MemcachedReply): void {
      const request = this.#outstanding.get(reply.opaque);
      if (request?.opcode !== reply.opcode) {
        throw new MsmError("MSM_ERR_STORAGE_PROTOCOL", "memcached answers what nobody asked");
      }
      this.#outstanding.delete(reply.opaque);
      request.resolve(reply);
    }

    #acceptAuthentication(reply: MemcachedReply): void {
      if (reply.status === status.ok) this.emit("authenticated");
      else this.error("memcached refuses the user name or the password");
    }

    #replyTo(request: MemcachedRequest, opaque: number): Promise<MemcachedReply> {
      return new Promise((resolve, reject) => {
        this.#outstanding.set(opaque, { opcode: request.opcode, resolve, reject });
      });
    }
  };
}
