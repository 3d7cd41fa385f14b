import { request } from "node:http";
import type { Line } from "./app-process.js";

/** What came back; `broken` says why where no whole answer came. */
export type HttpAnswer =
  | {
      readonly kind: "whole";
      readonly status: number;
      readonly body: string;
      readonly setCookies: readonly string[];
    }
  | { readonly kind: "broken"; readonly why: string; readonly wasSent: boolean };

/** Sends one request to a worker, on a connection that is kept. Never rejects. */
export function askWorker(
  { port, agent }: Line,
  {
    method,
    path,
    cookie,
    patienceMs,
  }: { method: string; path: string; cookie: string | undefined; patienceMs: number },
): Promise<HttpAnswer> {
  return new Promise((resolve) => {
    const headers = cookie === undefined ? {} : { cookie };
    const broken = (error: Error & { code?: string }) =>
      resolve({ kind: "broken", why: error.code ?? error.message, wasSent: error.code !== "ECONNREFUSED" });
    const asking = request({ host: "127.0.0.1", port, agent, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", broken);
      response.on("end", () =>
        resolve({
          kind: "whole",
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString(),
          setCookies: response.headers["set-cookie"] ?? [],
        }),
      );
    });
    asking.setTimeout(patienceMs, () => asking.destroy(new Error(`no answer within ${patienceMs} ms`)));
    asking.on("error", broken);
    asking.end();
  });
}
