import { STATUS_CODES } from "node:http";
import type { FastifyReply } from "fastify";

/**
 * Answers with an error in place of a handler, whose answer is thrown away: as if the handler had failed with it, by
 * the application's error handler.
 */
export function answerError(reply: FastifyReply, error: Error): void {
  if (reply.sent) answerRaw(reply, error);
  else answerByFastify(reply, error);
}

function answerByFastify(reply: FastifyReply, error: Error): void {
  // What `holdResponse` took off the response stands on the reply as well.
  for (const name of Object.keys(reply.getHeaders()))
    if (!reply.raw.hasHeader(name)) reply.removeHeader(name);
  const cookiesBefore = reply.raw.getHeader("set-cookie");
  reply.removeHeader("set-cookie"); // the response's, too
  if (cookiesBefore !== undefined) reply.raw.setHeader("set-cookie", cookiesBefore);
  void reply.send(error);
}

/** Fastify answers nothing for a reply that was hijacked. */
function answerRaw({ raw, log }: FastifyReply, error: Error): void {
  const { message, code } = error as NodeJS.ErrnoException;
  const { statusCode } = raw;
  log.error({ err: error }, message);
  raw.setHeader("content-type", "application/json; charset=utf-8");
  raw.end(JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message }));
}
