import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { files } from "../files.js";
import { type Action, actions } from "./member.js";
import type { ClusterReport } from "./report.js";

/** What the pages below need of a cluster. */
export interface Controlled {
  report(): ClusterReport;
  /** Rejects with UnknownMember, or with what went wrong. */
  control(name: string, action: Action): Promise<void>;
}

/** There is no process of this name, or none that can be controlled. */
export class UnknownMember extends Error {}

/** Header that a script sends to show that it is no other site's page, which cannot set one. */
export const controlHeader = "x-msm-control";

const commandPath = /^\/cluster\/([\w-]+)\/([\w-]+)$/;

/**
 * The page, `GET /cluster.json` and `POST /cluster/<name>/stop|kill|freeze|restart`. They are the balancer's, so that
 * they work when no application does.
 * @returns a function that says whether it took a request
 */
export function controlPages(cluster: Controlled) {
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const command = commandPath.exec(path);
    if (path !== "/" && path !== "/cluster.json" && !command) return false;
    answer(request, response, path, command, cluster).catch((error: Error) => {
      reply(response, error instanceof UnknownMember ? 404 : 500, { error: error.message });
    });
    return true;
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  command: RegExpExecArray | null,
  cluster: Controlled,
): Promise<void> {
  request.resume();
  if (!isLocal(request)) return reply(response, 403, { error: "only from this machine, under its own name" });
  if (!command) {
    if (request.method !== "GET" && request.method !== "HEAD") return refuseMethod(response, "GET, HEAD");
    return path === "/" ? await showPage(response) : reply(response, 200, cluster.report());
  }
  const [, name = "", wanted = ""] = command;
  const action = actions.find((each) => each === wanted);
  if (!action) return reply(response, 404, { error: `there is ${actions.join(", ")}` });
  if (request.method !== "POST") return refuseMethod(response, "POST");
  if (!isOurs(request)) return reply(response, 403, { error: `send the header ${controlHeader}: 1` });
  await cluster.control(name, action);
  reply(response, 200, cluster.report());
}

// The name is looked at as well: a foreign name that leads to 127.0.0.1 would make another site's page one of ours.
function isLocal(request: IncomingMessage): boolean {
  const host = (request.headers.host ?? "").replace(/:\d+$/, "");
  const isLoopback = ["127.0.0.1", "::1", "::ffff:127.0.0.1"].includes(request.socket.remoteAddress ?? "");
  return isLoopback && ["127.0.0.1", "localhost", "[::1]"].includes(host);
}

function isOurs(request: IncomingMessage): boolean {
  return (
    request.headers[controlHeader] !== undefined ||
    request.headers.origin === `http://${request.headers.host}`
  );
}

async function showPage(response: ServerResponse): Promise<void> {
  const page = await readFile(files.page);
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy":
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
  });
  response.end(page);
}

function refuseMethod(response: ServerResponse, allowed: string): void {
  response.setHeader("allow", allowed);
  reply(response, 405, { error: `use ${allowed}` });
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
  });
  response.end(`${JSON.stringify(body, undefined, 2)}\n`);
}
