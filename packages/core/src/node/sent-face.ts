import type { NodeResponse } from "./node-response.js";

/** Gives a response its own face back. */
export type ShowAsItIs = (res: NodeResponse) => void;

/**
 * Makes a response look sent while it is held: `headersSent` is true and headers cannot be changed, so that an error
 * handler does not answer a second time, and a second answer does not spoil the first one's headers.
 */
export function showHeadSent(res: NodeResponse): ShowAsItIs {
  return "_implicitHeader" in res ? showStoredHead(res) : showHeadSentOverHttp2(res);
}

/**
 * HTTP/1: the text of the head is what Node itself looks at, and middlewares of all ages with it. That property is none of
 * its documented ones, but has been there since the first releases; and to lay others over those of each response costs
 * several times what all the rest of a request does.
 */
function showStoredHead(res: StoringResponse): ShowAsItIs {
  res._header = "held";
  return forgetStoredHead;
}

type StoringResponse = NodeResponse & { _header?: unknown };

function forgetStoredHead(res: StoringResponse): void {
  res._header = null;
}

function showHeadSentOverHttp2(res: NodeResponse): ShowAsItIs {
  return overlay(res, {
    headersSent: { value: true, configurable: true },
    setHeader: refusing("set"),
    appendHeader: refusing("append"),
    removeHeader: refusing("remove"),
  });
}

const ended: PropertyDescriptor = { value: true, configurable: true };

/**
 * Makes a response look ended while its end is held. `finished` stays as it is: Node reads it itself, and would take a
 * pipelined response for sent.
 */
export function showEnded(res: NodeResponse): ShowAsItIs {
  if (Object.hasOwn(res, "writableEnded")) return overlay(res, { writableEnded: ended });
  Object.defineProperty(res, "writableEnded", ended);
  return forgetEnded;
}

function forgetEnded(res: NodeResponse): void {
  Reflect.deleteProperty(res, "writableEnded");
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

/** Lays properties over a response's. @returns what takes them away, and puts back what was its own before */
function overlay(target: NodeResponse, properties: PropertyDescriptorMap): ShowAsItIs {
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
