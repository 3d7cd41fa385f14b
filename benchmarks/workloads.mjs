/**
 * What is asked of a server.
 * @typedef {object} Workload
 * @property {string} name
 * @property {string} meaning
 * @property {"GET" | "POST"} method
 * @property {string} path
 * @property {"small" | "large" | undefined} session the size of the sessions whose cookies are sent; undefined: no cookie
 */

/** @type {readonly Workload[]} */
export const workloads = [
  {
    name: "S",
    meaning: "the session is not touched",
    method: "GET",
    path: "/untouched",
    session: "small",
  },
  { name: "R", meaning: "one attribute is read", method: "GET", path: "/read", session: "small" },
  { name: "W", meaning: "a counter is incremented", method: "POST", path: "/write", session: "small" },
  {
    name: "RL",
    meaning: "one small attribute of 10 kB is read",
    method: "GET",
    path: "/read",
    session: "large",
  },
  {
    name: "WL",
    meaning: "a counter beside 10 kB is incremented",
    method: "POST",
    path: "/write",
    session: "large",
  },
  {
    name: "N",
    meaning: "a new session for each request",
    method: "POST",
    path: "/log-in/small",
    session: undefined,
  },
];
