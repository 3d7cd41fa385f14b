import type { NodeResponse } from "./node-response.js";

/**
 * Makes a response look sent while it is held: `headersSent` is true and headers cannot be changed, so that an error
 * handler does not answer a second time, and a second answer does not spoil the first one's headers.
 * @returns what gives the response its own face back
 */
export function showHeadSent(res: NodeResponse): () => void {
  return overlay(res, {
    headersSent: { value: true, configurable: true },
    setHeader: refusing("set"),
    appendHeader: refusing("append"),
    removeHeader: refusing("remove"),
    // Older middlewares (compression before 1.8) call this where they find no `_header` yet. HTTP/1 only.
    ...("_implicitHeader" in res ? { _implicitHeader: { value: () => {}, configurable: true } } : {}),
  });
}

/**
 * Makes a response look ended while its end is held. `finished` stays as it is: Node reads it itself, and would take a
 * pipelined response for sent.
 * @returns what gives the response its own face back
 */
export function showEnded(res: NodeResponse): () => void {
  return overlay(res, { writableEnded: { value: true, configurable: true } });
}

/** The error that Node throws at whoever changes headers too late. */
export function headersSentError(verb: "set" | "append" | "remove" | "write"): Error {
  return Object.assign(new Error(`Cannot ${verb} headers after they are sent to the client`), {
    code: "ERR_HTTP_HEADERS_SENT",
  });
}

function refusing(verb: "set" | "append" | "remove"): PropertyDescriptor {
  return {
    value: () => {
      throw headersSentError(verb);
    },
    configurable: true,
    writable: true,
  };
}

/** Lays properties over an object's. @returns what takes them away, and puts back what was its own before */
function overlay(target: object, properties: PropertyDescriptorMap): () => void {
  const before = Object.keys(properties).map(
    (name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  );
  Object.defineProperties(target, properties);
  return () => {
    for (const [name, own] of before) {
      if (own === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, own);
    }
  };
}
