import { MemoryStore, session } from "@msm/express";
import express from "express";

export const app = express();

app.use(
  session({
    store: new MemoryStore(), // or connect-redis, connect-pg-simple, …
    secret: process.env.SESSION_SECRET,
    storeTimeoutMs: 2000, // where the store takes longer, the request fails with 503
    absoluteTimeoutMs: 12 * 3_600_000, // the longest that a session lives
  }),
);

app.get("/", async (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  await req.session.save(); // now; the end of the response does so anyway
  res.send(`You were here ${req.session.views} times.`);
});
