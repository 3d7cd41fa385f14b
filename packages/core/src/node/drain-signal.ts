import { call, type NodeResponse } from "./node-response.js";

type Listener = (...args: unknown[]) => void;

/**
 * Makes what tells writers that a response takes more, after it told them to wait. Undefined where that is
 * `emit("drain")`.
 *
 * Middlewares that transform the body, as compression does, lead `on("drain")` to a stream of theirs, where our signal would
 * not arrive and a pipe would stand still for ever: so where one has replaced `on`, its drain listeners are noted as
 * they pass.
 */
export function drainSignal(res: NodeResponse): (() => void) | undefined {
  return Object.hasOwn(res, "on") ? ledDrainSignal(res) : undefined;
}

function ledDrainSignal(res: NodeResponse): () => void {
  const led = new Set<Listener>();
  const leadingOn = res.on;
  res.on = (...args: Parameters<NodeResponse["on"]>) => {
    if (args[0] === "drain") led.add(args[1]);
    call(leadingOn, res, args);
    return res;
  };
  return () => {
    const direct = new Set<unknown>(res.rawListeners("drain"));
    res.emit("drain");
    for (const listener of led) if (!direct.has(listener)) listener.call(res);
    led.clear();
  };
}
