import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type Koa from "koa";

/** An application at its address; `close()` ends its connections too. */
export interface ServedApp {
  readonly url: string;
  close(): void;
}

/** Serves a Koa application on a free port of 127.0.0.1. It prints nothing of the errors that it answers. */
export async function serve(app: Pick<Koa, "callback" | "silent">): Promise<ServedApp> {
  app.silent = true;
  const server: Server = createServer(app.callback());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
