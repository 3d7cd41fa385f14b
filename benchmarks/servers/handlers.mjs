/**
 * What the routes do, whichever framework they are in: each gets the request's session and gives the answer's body. A
 * session that is not there fails the request, so that nobody is fast by losing it.
 */
import { setTimeout as pause } from "node:timers/promises";

const userName = "Anna Karenina";

/** A session of 200 bytes of JSON. */
export const smallSession = () => ({
  userName,
  count: 0,
  user: { id: 47, roles: ["reader", "author"], language: "en", zone: "Europe/Moscow", theme: "dark" },
  csrf: "5f2b8c1e9d7a4063b1c8e2f09a6d4b73",
  seenAt: 1764000000000,
});

/** The same with a cart, 10 kB of JSON in all. */
export const largeSession = () => ({
  ...smallSession(),
  cart: Array.from({ length: 111 }, (_, item) => ({
    item: 100_000 + item,
    title: `A book that somebody may want to buy, volume ${100 + item}`,
    cents: 1000 + item,
  })),
});

/** A counter has so many characters in an answer, whatever it says: all answers to a route have the same length. */
const shown = (count) => String(count).padStart(8);

/** Those that answer at once. @type {Readonly<Record<string, (session: any) => string>>} */
export const handlers = {
  "GET /untouched": () => "ok",
  "GET /read": (session) => present(session.userName),
  "POST /write": increment,
  "POST /log-in/small": (session) => fill(session, smallSession()),
  "POST /log-in/large": (session) => fill(session, largeSession()),
};

/** Those that answer later. @type {Readonly<Record<string, (session: any) => Promise<string>>>} */
export const slowHandlers = {
  /** As if it asked a database before it knows what to write. */
  async "POST /slow-write"(session) {
    await pause(5);
    return increment(session);
  },
  async "POST /lock-and-write"(session) {
    await session.lock();
    return increment(session);
  },
};

/** The same answers where there are no sessions. @type {Readonly<Record<string, () => string>>} */
export const bareHandlers = {
  "GET /untouched": () => "ok",
  "GET /read": () => userName,
  "POST /write": () => shown(0),
  "POST /log-in/small": () => "ok",
  "POST /log-in/large": () => "ok",
};

function increment(session) {
  const count = present(session.count) + 1;
  session.count = count;
  return shown(count);
}

function fill(session, values) {
  Object.assign(session, values);
  return "ok";
}

function present(value) {
  if (value === undefined) throw new Error("the session is not there");
  return value;
}
