import { STATUS_CODES } from "node:http";
import type { HoldOptions } from "@msm/core/node";
import type { FastifyReply } from "fastify";
import type { Sessions } from "./sessions.js";

/**
 * Answers with an error in place of a handler, whose answer is thrown away: as if the handler had failed with it, by
 * the application's error handler.
 */
export class ErrorAnswer implements HoldOptions {
  readonly #reply: FastifyReply;
  readonly #sessions: Pick<Sessions, "errorFor">;

  constructor(reply: FastifyReply, sessions: Pick<Sessions, "errorFor">) {
    this.#reply = reply;
    this.#sessions = sessions;
  }

  answerError(thrown: Error): void {
    const error = this.#sessions.errorFor(thrown);
    if (this.#reply.sent) answerRaw(this.#reply, error);
    else answerByFastify(this.#reply, error);
  }
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
