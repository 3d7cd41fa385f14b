import type { Row } from "../row.js";
import { faultTime } from "../row.js";

/** Rows in which storage nodes die, hang and come back. */
export const nodeRows: readonly Row[] = [
  {
    id: "F1",
    title: "a node is killed, and stays away",
    async inject(stage) {
      await stage.bench.node("n1").server.kill();
      await faultTime(stage);
    },
    async after({ bench }) {
      await bench.node("n1").server.restart();
      await bench.allNodesUp();
    },
  },
  {
    id: "F2",
    title: "a node is killed and restarts empty",
    async inject(stage) {
      const { server } = stage.bench.node("n1");
      await server.kill();
      await faultTime(stage, 0.4);
      await server.restart();
      await faultTime(stage, 0.6);
    },
  },
  {
    id: "F3",
    title: "a node hangs (SIGSTOP), and goes on",
    async inject(stage) {
      const { server } = stage.bench.node("n1");
      await server.freeze();
      await faultTime(stage);
      server.thaw();
    },
  },
];
