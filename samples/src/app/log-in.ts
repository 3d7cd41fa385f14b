import { Router } from "express";
import type { SessionData } from "express-session";
import { sessionName } from "../session-name.js";

const longestName = 40;

/** `/login`, `/logout` and `/me`. Anybody may be anybody: what is shown is that a log-in is kept. */
export function logInRoutes(): Router {
  return Router()
    .post("/login", async (request, response) => {
      const { user } = request.query;
      if (typeof user !== "string" || user === "" || user.length > longestName) {
        return void response
          .status(400)
          .json({ error: `"user" must be a name of 1 to ${longestName} characters` });
      }
      const { cache, counter, autocounter } = request.session;
      // A new id, so that one who planted the old one is not logged in along.
      await request.session.regenerate();
      Object.assign(request.session, withoutUndefined({ cache, counter, autocounter }), { user });
      response.json({ user, sessionId: sessionName(request.session.id) });
    })
    .post("/logout", async (request, response) => {
      await request.session.destroy();
      response.json({ user: null });
    })
    .get("/me", (request, response) => {
      const { user, counter } = request.session;
      response.json({
        user: user ?? null,
        counter: counter ?? null,
        sessionId: sessionName(request.session.id),
      });
    });
}

type Attributes = { [Name in keyof SessionData]?: SessionData[Name] | undefined };

function withoutUndefined(attributes: Attributes): Partial<SessionData> {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
