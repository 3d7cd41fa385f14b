import { defineConfig } from "tsup";

export default defineConfig({
  entry: ["src/index.ts", "src/cluster.ts", "src/app.ts", "src/dev-memcached.ts", "src/reaper.ts"],
  format: ["esm"],
  dts: { entry: "src/index.ts" },
  sourcemap: true,
  clean: true,
  removeNodeProtocol: false,
  target: "node20",
});
