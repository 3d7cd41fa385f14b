import type { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";

/** A response of Node's http, https or http2 module. */
export type AnyServerResponse = ServerResponse | Http2ServerResponse;

/** A method that is overloaded, and that middlewares replace: called with whatever arguments its caller used. */
export type Method = (...args: never[]) => unknown;

/** What both kinds of response have in common, with the methods that send as properties that can be replaced. */
export interface NodeResponse extends EventEmitter {
  statusCode: number;
  statusMessage: string;
  readonly writableEnded: boolean;
  readonly req: { readonly httpVersionMajor: number };
  writeHead: Method;
  write: Method;
  end: Method;
  flushHeaders?: Method;
  getHeaderNames(): string[];
  getHeader(name: string): number | string | string[] | undefined;
  hasHeader(name: string): boolean;
  setHeader(name: string, value: unknown): unknown;
  appendHeader(name: string, value: unknown): unknown;
  removeHeader(name: string): void;
  destroy(error?: Error): unknown;
}

/** Calls a method as its caller did. */
export function call(method: Method, res: NodeResponse, args: readonly unknown[]): unknown {
  return Reflect.apply(method, res, args);
}
