import { holdResponse } from "@msm/core/node";
import type { FastifyPluginAsync, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from "fastify";
import fastifyPlugin from "fastify-plugin";
import { ErrorAnswer } from "./answer-error.js";
import type { Callback } from "./callback-or-promise.js";
import { isOnPath } from "./cookie-path.js";
import type { LibraryCookieOptions } from "./library.js";
import { NodeSessions } from "./nodes/node-sessions.js";
import { type FastifySessionOptions, sessionsFor } from "./options.js";
import { putNothing, sessionDecoration, sessionSlot } from "./request-session.js";
import type { Opening, SessionTarget } from "./sessions.js";

const plugin: FastifyPluginAsync<FastifySessionOptions> = async (fastify, options) => {
  const sessions = sessionsFor(options);

  fastify.decorate("decryptSession", decryptSession);
  if (sessions instanceof NodeSessions) fastify.decorate("sessionManager", sessions.manager);
  // An application's types say which attributes its stores keep.
  const sessionStore = sessions.sessionStore as FastifyRequest["sessionStore"];
  fastify.decorateRequest("sessionStore", { getter: () => sessionStore });
  // Each request's is its own, and is put there when it begins.
  fastify.decorateRequest(sessionSlot, null);
  fastify.decorateRequest("session", sessionDecoration as { getter(): FastifyRequest["session"] });
  fastify.addHook("onRequest", openSession);
  fastify.addHook("onClose", () => sessions.close());

  // With a callback: most sessions are there at once, and a promise would cost each request more than its session does.
  function openSession(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    let opening: undefined | Promise<undefined>;
    try {
      opening = openAndHold(request, reply);
    } catch (error) {
      done(error as Error);
      return;
    }
    if (opening === undefined) done();
    else tellWhenOpen(opening, done);
  }

  function openAndHold(request: FastifyRequest, reply: FastifyReply): undefined | Promise<undefined> {
    putNothing(request);
    if (!isOnPath(request.raw.url, sessions.cookiePath)) return undefined;
    const opening = sessions.open(request, reply);
    return opening instanceof Promise ? holdWhenOpen(reply, opening) : hold(reply, opening);
  }

  async function holdWhenOpen(reply: FastifyReply, opening: Promise<Opening>): Promise<undefined> {
    return hold(reply, await opening);
  }

  function hold(reply: FastifyReply, exchange: Opening): undefined {
    if (exchange === undefined) return;
    // All that Fastify sends goes by its raw response, and so do hijacked replies, streams and what `inject()` asks for.
    holdResponse(reply.raw, exchange, new ErrorAnswer(reply, sessions));
  }

  function decryptSession(
    value: string,
    request: object,
    cookieOrCallback: LibraryCookieOptions | Callback,
    callback?: Callback,
  ): void {
    const [cookie, done] =
      typeof cookieOrCallback === "function" ? [{}, cookieOrCallback] : [cookieOrCallback, callback];
    sessions.decrypt(value, request as SessionTarget, cookie).then(
      () => process.nextTick(done ?? (() => {})),
      (error: unknown) => process.nextTick(done ?? (() => {}), error),
    );
  }
};

function tellWhenOpen(opening: Promise<undefined>, done: HookHandlerDoneFunction): void {
  opening.then(() => done(), done);
}

/**
 * Gives each request its session as `request.session`, with @fastify/session's members. The answer reaches the client
 * once the session is saved; where it cannot be saved, the application's error handler answers instead, with
 * `error.statusCode` 503 or 409.
 *
 * Registered, it is known as `@fastify/session`: plugins that depend on that load. It does not need @fastify/cookie.
 */
export const fastifySession = fastifyPlugin(plugin, { fastify: "5.x", name: "@fastify/session" });
