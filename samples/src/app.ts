import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createSessionManager } from "@msm/core";
import { createApplication } from "./app/application.js";
import { tellNews } from "./app/news.js";
import { readCommandLine } from "./app/options.js";

/*
 * MSM_SECRET=… node dist/app.js --name app1 --port 8081 --mode sticky --nodes n1:127.0.0.1:11211,n2:127.0.0.1:11212
 *
 * One application process of the demo clusters.
 */
async function main(): Promise<void> {
  const { name, port, locksInHandlers, session } = readCommandLine(process.argv.slice(2), process.env);
  const manager = createSessionManager(session);
  // Where nobody started us with a channel, nobody wants to be told.
  tellNews(manager, (news) => process.send?.(news));

  const server = createServer(createApplication({ name, manager, locksInHandlers })).listen(
    port,
    "127.0.0.1",
  );
  await once(server, "listening");

  const end = async () => {
    await endRequests(server);
    await manager.close();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void end().catch(fail));
}

const longestRequestMs = 2_000;

/** Takes no more requests, and waits for those that are being served; after 2 s they are cut. */
async function endRequests(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const cutting = setTimeout(() => server.closeAllConnections(), longestRequestMs);
  await closed;
  clearTimeout(cutting);
}

function fail(error: unknown): void {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

main().catch(fail);
