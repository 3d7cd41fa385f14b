import { connect, type Socket } from "node:net";
import type { AppAddress, AppPool } from "./app-pool.js";

const timeoutMs = 1000;

/** A process that took the connection. Nothing has been sent on it. */
export interface Connected {
  readonly app: AppAddress;
  readonly socket: Socket;
}

/**
 * Connects to the first process that takes the connection. This is all the failing over there is: as long as there is
 * no connection, nothing can have been delivered, so that nothing is ever carried out twice.
 * @returns undefined where nobody takes it
 */
export async function connectToFirst(
  candidates: readonly AppAddress[],
  pool: AppPool,
): Promise<Connected | undefined> {
  for (const app of candidates) {
    try {
      return { app, socket: await connectTo(app) };
    } catch (error) {
      pool.markDown(app.name, (error as Error).message);
    }
  }
  return undefined;
}

function connectTo({ host, port }: AppAddress): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    const failed = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeoutMs, () => failed(new Error("it does not take connections")));
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.setTimeout(0).removeAllListeners("timeout");
      socket.removeListener("error", failed);
      resolve(socket);
    });
  });
}
