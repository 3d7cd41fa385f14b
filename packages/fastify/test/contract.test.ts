import { adapterContract } from "@msm/conformance";
import fastify from "fastify";
import { contractApp } from "./contract-app.js";

adapterContract("Fastify 5", async (given) => {
  const app = contractApp(fastify({ forceCloseConnections: true }), given);
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  return { url, close: () => app.close() };
});
