import type { RequestHandler } from "express";
import { sessionName } from "../session-name.js";

/** Gives the client a new session, with what was in `cache`. */
export const swapSessionId: RequestHandler = async (request, response) => {
  const { id: old, cache } = request.session;
  await request.session.regenerate();
  if (cache !== undefined) request.session.cache = cache;
  response.type("text").send(`old: ${sessionName(old)}\nnew: ${sessionName(request.session.id)}\n`);
};
