/**
 * What the handlers do with a session.
 *
 * @typedef {import("../history/operation.js").OperationKind} OperationKind
 * @typedef {import("../history/operation.js").Reply} Reply
 *
 * @typedef {object} Task what a request asks for
 * @property {OperationKind} kind
 * @property {string} id
 * @property {(count: number) => Promise<void>} think what passes between reading and writing; given the counter
 *
 * @typedef {{ count: number, by: string }} Counter with the id of who wrote it, so that its history can be told
 * @typedef {Record<string, unknown> & { tag?: string, list?: string[], count?: number, counter?: Counter }} Attributes
 *
 * @typedef {object} Conduct how the handlers of a policy use the session
 * @property {(attributes: Attributes, task: Task) => Promise<Reply>} serve
 * @property {(attributes: Attributes) => { found: string[], count: number }} state
 */
import { listDigest } from "../history/list-digest.mjs";

/**
 * Two counters that came of one are as much more than it as both together.
 *
 * @param {import("@msm/core").AttributeConflict} conflict
 * @returns {Counter}
 */
export function addUp({ base, mine, theirs }) {
  const own = counterIn({ counter: mine });
  const added = counterIn({ counter: theirs }).count - counterIn({ counter: base }).count;
  return { count: own.count + added, by: own.by };
}

/**
 * One list and one number, read before and written after a pause: only a lock keeps them right.
 *
 * @type {Conduct}
 */
export const lockedConduct = {
  async serve(attributes, { kind, id, think }) {
    const { tag, list = [], count = 0 } = attributes;
    await think(count);
    if (kind === "append") attributes.list = [...list, id];
    if (kind !== "read") attributes.count = count + 1;
    return {
      ...{ tag, length: list.length, digest: listDigest(list) },
      count: kind === "read" ? count : count + 1,
    };
  },
  state: ({ list = [], count = 0 }) => ({ found: list, count }),
};

/**
 * An attribute for each request, and a counter for all. The counter is read and written in one go: requests of one
 * process may share a session (sticky), and what one of them keeps over a pause is its own affair.
 *
 * @type {Conduct}
 */
export const optimisticConduct = {
  async serve(attributes, { kind, id, think }) {
    await think(counterIn(attributes).count);
    const { length } = idsIn(attributes);
    const { count, by } = counterIn(attributes);
    if (kind === "append") attributes[id] = true;
    if (kind !== "read") attributes.counter = { count: count + 1, by: id };
    return { tag: attributes.tag, length, parent: by, count: kind === "read" ? count : count + 1 };
  },
  state: (attributes) => ({ found: idsIn(attributes).sort(), count: counterIn(attributes).count }),
};

/** @param {Attributes} attributes */
function idsIn(attributes) {
  return Object.keys(attributes).filter((name) => name.includes(":"));
}

/**
 * @param {{ counter?: unknown }} attributes
 * @returns {Counter}
 */
function counterIn({ counter }) {
  return /** @type {Counter | undefined} */ (counter) ?? { count: 0, by: "" };
}
