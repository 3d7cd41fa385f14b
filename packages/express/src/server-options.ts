import { IncomingMessage, ServerResponse } from "node:http";
import type { Express } from "express";
import { bornOfExpress } from "./property-tables.js";

/**
 * Options for `createServer()` of `node:http` and `node:https`, by which requests and responses are Express' own from the
 * first, so that it need not swap their prototypes: `createServer(serverOptions(app), app)`. That swap is most of what Express
 * costs. Whatever else they are is as with `app.listen()`.
 * @param app the application that the server is for
 */
export function serverOptions(app: Express): {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
} {
  return {
    IncomingMessage: bornWith(app.request, IncomingMessage),
    ServerResponse: bornWith(app.response, ServerResponse),
  };
}

/** The class, but for the prototype of what it makes, which inherits from its own. */
function bornWith<Class extends new (...args: never[]) => object>(prototype: object, parent: Class): Class {
  // Node's classes are functions; with Reflect.construct(), each object would have a shape of its own again.
  function Born(this: { [bornOfExpress]?: true }, ...args: unknown[]) {
    Reflect.apply(parent as unknown as (...args: unknown[]) => void, this, args);
    this[bornOfExpress] = true;
  }
  Born.prototype = prototype;
  return Born as unknown as Class;
}
