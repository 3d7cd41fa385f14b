import { setTimeout as wait } from "node:timers/promises";
import type { RequestHandler } from "express";
import { readSessionCookie } from "../balancer/session-cookie.js";
import { sessionName } from "../session-name.js";

const longestDelayMs = 20_000;

/**
 * Counts, from 0 on: reads, waits for `delay` milliseconds, and writes. With `lock` in the query, or always, it takes its
 * session for itself before it reads. What a machine gets tells who counted as well.
 */
export function counter(name: string, { alwaysLocks }: { alwaysLocks: boolean }): RequestHandler {
  return async (request, response) => {
    if (alwaysLocks || request.query.lock !== undefined) await request.session.lock();
    const before = request.session.counter ?? -1;
    const delayMs = Number(request.query.delay ?? 0);
    // Anything that is no number of milliseconds is no delay.
    if (delayMs > 0) await wait(Math.min(delayMs, longestDelayMs));
    request.session.counter = before + 1;

    response.format({
      text: () => void response.send(String(before + 1)),
      json: () =>
        void response.json({
          counter: before + 1,
          sessionId: sessionName(request.session.id),
          route: name,
          node: readSessionCookie(request.headers.cookie, "sid")?.node ?? null,
          pid: process.pid,
        }),
    });
  };
}
