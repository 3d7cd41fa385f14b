import { defineConfig } from "tsup";

export default defineConfig({
  entry: ["src/index.ts"],
  format: ["esm", "cjs"],
  dts: true,
  sourcemap: true,
  clean: true,
  removeNodeProtocol: false,
  target: "node20",
  // `require("@msm/fastify")` is the plugin itself, as `require("@fastify/session")` is, with the exports on it.
  // (No `treeshake`: it would put the exports after this line.)
  footer: ({ format }) =>
    format === "cjs"
      ? {
          js: "module.exports = Object.assign(module.exports.fastifySession, { ...module.exports, __esModule: true });",
        }
      : {},
});
