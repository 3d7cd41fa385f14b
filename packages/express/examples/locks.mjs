import { session } from "@msm/express";
import express from "express";

export const app = express();
const sessions = session({ secret: process.env.SESSION_SECRET });

app.use("/status", sessions.unlocked); // whatever `locking` says
app.use(sessions);

app.post("/cart", sessions.locked, async (req, res) => {
  const items = req.session.items ?? 0; // nobody else changes it until this request is answered
  await new Promise((resolve) => setTimeout(resolve, 20));
  req.session.items = items + 1;
  res.send(`${req.session.items} in your cart`);
});

app.post("/order", async (req, res) => {
  await req.session.lock(); // here, and with the newest values
  req.session.items = 0;
  await req.session.save();
  await req.session.release(); // the next request may go on
  res.send("Thank you.");
});

app.get("/status", (req, res) => {
  res.send(`${req.session.items ?? 0} in your cart`);
});
