import http from "node:http";
import { session } from "@msm/express";

const sessions = session({ secret: process.env.SESSION_SECRET });

export const server = http.createServer((req, res) => {
  sessions(req, res, (error) => {
    if (error) return res.writeHead(error.status ?? 500).end();
    req.session.views = (req.session.views ?? 0) + 1;
    res.end(`You were here ${req.session.views} times.`);
  });
});
