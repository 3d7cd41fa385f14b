import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";

/** Serves on a free port. `close()` ends the connections too. */
export async function serve(handler: http.RequestListener): Promise<{ url: string; close(): void }> {
  const server = http.createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
