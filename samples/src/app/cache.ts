import { Router } from "express";

/** `/put` and `/list`: a map in one attribute of the session, which is changed in place. */
export function cacheRoutes(): Router {
  return Router()
    .get("/put", (request, response) => {
      request.session.cache ??= {};
      for (const [key, value] of Object.entries(request.query)) {
        request.session.cache[key] = String(Array.isArray(value) ? value.at(-1) : value);
      }
      response.type("text").send(listed(request.session.cache));
    })
    .get("/list", (request, response) => void response.type("text").send(listed(request.session.cache)));
}

function listed(cache: Readonly<Record<string, string>> = {}): string {
  return Object.entries(cache)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}
