import { createSessionManager } from "@msm/core";
import { session } from "@msm/express";
import express from "express";

export const manager = createSessionManager({ secret: process.env.SESSION_SECRET });
export const app = express();

manager.on("commitFailed", ({ error }) => console.error(error.message));

app.use("/shop", session({ manager }));
app.use("/admin", session({ manager }));

app.get("/shop/cart", (req, res) => {
  req.session.cart ??= [];
  req.session.cart.push("book");
  res.json(req.session.cart);
});

app.get("/admin/cart", (req, res) => {
  res.json(req.session.cart ?? []);
});
