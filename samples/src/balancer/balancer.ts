import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type AppAddress, AppPool, type BalancerEvent } from "./app-pool.js";
import { connectToFirst } from "./connect.js";
import { forward, refuse } from "./forward.js";
import { HealthChecks } from "./health.js";
import { readSessionCookie, type SessionCookie, sessionAfter } from "./session-cookie.js";
import { passThrough, refuseUpgrade } from "./upgrade.js";

/** How a balancer is started. */
export interface BalancerOptions {
  readonly apps: readonly AppAddress[];
  /** True: requests go to the process that the cookie's route names. False: to one after the other. */
  readonly sticky: boolean;
  /** Port on 127.0.0.1; 0: any free one. */
  readonly port: number;
  /** Default "sid". */
  readonly cookieName?: string;
  /** Answers requests that are not for the applications. @returns whether it took this one */
  readonly ownPages?: (request: IncomingMessage, response: ServerResponse) => boolean;
  readonly onEvent?: (event: BalancerEvent) => void;
}

/** A running balancer. */
export interface Balancer {
  readonly host: string;
  readonly port: number;
  /** Whether requests are sent to this process. */
  isUp(app: string): boolean;
  /** Ends the balancer and all its connections. */
  close(): Promise<void>;
}

const host = "127.0.0.1";

/**
 * Starts a small load balancer in this process: what nginx or HAProxy does in front of a real cluster.
 *
 * Written on node:http, not on a proxy package: what may be sent again hangs on whether a connection was made, which
 * packages do not tell. Each request has a connection of its own, so that "connected" means "nothing was sent yet".
 * @throws Error EADDRINUSE where the port is taken
 */
export async function startBalancer(options: BalancerOptions): Promise<Balancer> {
  const { apps, sticky, cookieName = "sid", ownPages = () => false, onEvent = () => {} } = options;
  const pool = new AppPool(apps, onEvent);
  const upgraded = new Set<Duplex>();

  const connectFor = async (cookie: SessionCookie | undefined) => {
    const wanted = sticky ? cookie?.route : undefined;
    const connected = await connectToFirst(pool.inOrder(wanted), pool);
    if (connected && cookie && wanted !== undefined && wanted !== connected.app.name) {
      onEvent({ kind: "failedOver", session: cookie.session, from: wanted, to: connected.app.name });
    }
    return connected;
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const cookie = readSessionCookie(request.headers.cookie, cookieName);
    const connected = await connectFor(cookie);
    if (!connected) return refuse(response, 503, "no application process can be reached");

    // For those who watch: who answered, and which node has the session now.
    const added = (setCookies: readonly string[]) => [
      ...["X-Served-By", connected.app.name],
      ...["X-Session-Node", sessionAfter(cookie, setCookies, cookieName)?.node ?? "none"],
    ];
    const outcome = await forward(request, response, connected, pool, added);
    if (outcome !== "unanswered") return;
    onEvent({ kind: "unanswered", app: connected.app.name, ...whatWasAsked(request) });
    // Probably it has just died. If not, the next health check says so.
    pool.markDown(connected.app.name, "it broke a request off");
  };

  const upgrade = async (request: IncomingMessage, client: Duplex, head: Buffer) => {
    client.on("error", () => client.destroy());
    const connected = await connectFor(readSessionCookie(request.headers.cookie, cookieName));
    if (!connected) return refuseUpgrade(client);
    upgraded.add(client);
    await passThrough(request, client, head, connected);
    upgraded.delete(client);
  };

  const server = createServer((request, response) => {
    if (!ownPages(request, response)) void serve(request, response);
  });
  server.on("upgrade", (request, client, head) => void upgrade(request, client, head));
  server.listen(options.port, host);
  await once(server, "listening");
  const health = new HealthChecks(apps, pool);

  return {
    host,
    port: (server.address() as AddressInfo).port,
    isUp: (app) => pool.isUp(app),
    async close() {
      health.close();
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      for (const client of upgraded) client.destroy();
      await closed;
    },
  };
}

const whatWasAsked = ({ method = "GET", url = "/" }: IncomingMessage) => ({
  method,
  path: url.split("?", 1)[0] ?? "/",
});
