import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { AppPool } from "./app-pool.js";
import type { Connected } from "./connect.js";
import { answeredHeaders, forwardedHeaders, type RawHeaders } from "./headers.js";

const answerTimeoutMs = 30_000;

/** Headers that the balancer adds to a response, given the Set-Cookie values that the response has. */
export type AddedHeaders = (setCookies: readonly string[]) => RawHeaders;

/**
 * - `answered`: as far as the process and the client went along
 * - `unanswered`: no answer came; the client got a 502 or 504, and the request may have been carried out
 * - `unwanted`: the client went away before there was an answer
 */
export type Outcome = "answered" | "unanswered" | "unwanted";

/** Sends a request on a connection that nothing was sent on yet, and its answer to the client, both as they come in. */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  to: Connected,
  pool: AppPool,
  added: AddedHeaders,
): Promise<Outcome> {
  const answer = await ask(request, response, to, pool).catch((error: Error) => {
    const status = error === noAnswer ? 504 : 502;
    refuse(response, status, `${to.app.name} gave no answer; it may have done what was asked`);
    return undefined;
  });
  if (!answer) return response.destroyed ? "unwanted" : "unanswered";

  const headers = [...answeredHeaders(answer), ...added(answer.headers["set-cookie"] ?? [])];
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? "", headers);
  // At once, for those who stream: the first chunk may be long in coming.
  response.flushHeaders();
  // Where either side breaks off in the middle, so does the other: a part must not look like the whole.
  await pipeline(answer, response).catch(() => response.destroy());
  return "answered";
}

const noAnswer = new Error("no answer in time");

/** Resolves with the head of the answer. */
function ask(
  request: IncomingMessage,
  response: ServerResponse,
  { app, socket }: Connected,
  pool: AppPool,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = httpRequest({
      createConnection: () => socket,
      method: request.method ?? "GET",
      path: request.url ?? "/",
      headers: [...forwardedHeaders(request), "Connection", "close"],
      setHost: false,
    });
    const tooLong = setTimeout(() => asking.destroy(noAnswer), answerTimeoutMs);
    const stopWatching = pool.onSilent(app.name, () => asking.destroy(noAnswer));
    const isOver = () => {
      clearTimeout(tooLong);
      stopWatching();
    };
    asking.on("response", (answer) => {
      isOver();
      resolve(answer);
    });
    asking.on("error", (error) => {
      isOver();
      reject(error);
    });
    // A client that has gone needs no answer; the process learns of it by the connection's end.
    response.once("close", () => asking.destroy());
    request.pipe(asking);
  });
}

/** Answers in the balancer's own name, where nothing was answered yet. */
export function refuse(response: ServerResponse, status: number, why: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" });
  response.end(`${why}\n`);
}
