import { once } from "node:events";
import type { Socket } from "node:net";
import type { Server as MemjsServer } from "memjs";
import { MsmError } from "../errors.js";
import type { MemcachedCredentials } from "./memcached-address.js";
import {
  type BinaryReply,
  encodeRequest,
  meaningOf,
  opcode,
  opcodeOf,
  ReplyReader,
  status,
} from "./memcached-binary.js";
import type { Answers, ConnectionMark, MemcachedConnection } from "./memcached-connection.js";
import type { MemcachedReply, MemcachedRequest } from "./memcached-requests.js";

/** Where memjs connects to, and the SASL credentials. */
export interface BinaryAddress {
  readonly host: string;
  readonly port: number;
  readonly credentials: MemcachedCredentials | undefined;
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
 */
export function guardedConnection(
  Server: typeof MemjsServer,
  address: BinaryAddress,
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

    constructor(address: BinaryAddress, connectTimeoutMs: number) {
      super(address.host, address.port, "", "", {
        conntimeout: connectTimeoutMs / 1000,
        keepAlive: true,
        keepAliveDelay: 10,
      });
      // memjs would take them from MEMCACHIER_USERNAME and the like, which may be meant for another server.
      this.username = address.credentials?.username;
      this.password = address.credentials?.password;
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

    #accept(reply: BinaryReply): void {
      if (reply.opcode === opcode.saslMechanisms) this.saslAuth();
      else if (reply.opcode === opcode.saslAuthenticate) this.#acceptAuthentication(reply);
      else this.#hand(reply);
    }

    #hand(reply: BinaryReply): void {
      const request = this.#outstanding.get(reply.opaque);
      if (request?.opcode !== reply.opcode) {
        throw new MsmError("MSM_ERR_STORAGE_PROTOCOL", "memcached answers what nobody asked");
      }
      this.#outstanding.delete(reply.opaque);
      request.resolve(meaningOf(reply));
    }

    #acceptAuthentication(reply: BinaryReply): void {
      if (reply.status === status.ok) this.emit("authenticated");
      else this.error("memcached refuses the user name or the password");
    }

    #replyTo(request: MemcachedRequest, opaque: number): Promise<MemcachedReply> {
      return new Promise((resolve, reject) => {
        this.#outstanding.set(opaque, { opcode: opcodeOf(request), resolve, reject });
      });
    }
  };
}
