import session from "@msm/express";
import express from "express";

declare module "express-session" {
  interface SessionData {
    views: number;
  }
}

export const app = express();

app.use(session({ secret: process.env.SESSION_SECRET ?? "" }));

app.get("/", async (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1; // a number, for the compiler too
  await req.session.save();
  res.json(req.session.views);
});
