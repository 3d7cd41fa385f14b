import { expect, it } from "vitest";
import type { FaultyStorage } from "../../src/index.js";
import { attributesOf, begin, close, homeOf, open } from "../locking/stage.js";

/** Holds up the next call of a verb: before the node has it, or before its answer. @returns its arrival, and what lets it go */
function holdNext(
  node: FaultyStorage,
  verb: "save" | "putIfNewer",
  where: "before it" | "before its answer",
) {
  let arrive = () => {};
  let letGo = () => {};
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const stop = () => {
    arrive();
    return gate;
  };
  const call = node[verb] as (...args: unknown[]) => Promise<unknown>;
  (node[verb] as typeof call) = async (...args) => {
    (node[verb] as typeof call) = call;
    if (where === "before it") await stop();
    const result = await call.apply(node, args);
    if (where === "before its answer") await stop();
    return result;
  };
  return { arrived, letGo };
}

/** A session, and two requests that have it as it is; the first call that its node gets fails. */
async function twoRequests() {
  const { running, one, client } = await begin({ mode: "non-sticky" });
  const home = running.nodes[homeOf(client.cookie)]!;
  const other = running.nodes[homeOf(client.cookie) === "n1" ? "n2" : "n1"]!;
  const elsewhere = await open(one, client.cookie);
  const atHome = await open(one, client.cookie);
  elsewhere.session!.attributes.first = 1;
  atHome.session!.attributes.second = 2;
  home.failNext(1);
  return { running, client, home, other, elsewhere, atHome };
}

it("a save on its node, and one that went elsewhere, both stand where the node gets the one that it missed", async () => {
  const { running, client, other, elsewhere, atHome } = await twoRequests();
  const saved = holdNext(other, "save", "before its answer");
  const closing = close(elsewhere);
  await saved.arrived;
  const copied = holdNext(other, "putIfNewer", "before it");
  const closingAtHome = close(atHome);
  await copied.arrived;

  saved.letGo();
  const first = await closing;
  copied.letGo();
  const second = await closingAtHome;

  expect([first.outcome, second.outcome]).toEqual(["stored", "stored"]);
  for (const cookie of [client.cookie, first.cookie ?? client.cookie]) {
    expect(await attributesOf(running.start(), cookie)).toMatchObject({ first: 1, second: 2 });
  }
});

it("a save that went elsewhere stands where the next save on its node is copied over it", async () => {
  const { running, one, client } = await begin({ mode: "non-sticky" });
  const home = running.nodes[homeOf(client.cookie)]!;
  const other = running.nodes[homeOf(client.cookie) === "n1" ? "n2" : "n1"]!;
  const elsewhere = await open(one, client.cookie);
  const atHome = [await open(one, client.cookie), await open(one, client.cookie)];
  elsewhere.session!.attributes.first = 1;
  for (const [i, request] of atHome.entries()) request.session!.attributes[`other${i}`] = i;
  home.failNext(1);
  const saved = holdNext(other, "save", "before its answer");
  const closing = close(elsewhere);
  await saved.arrived;
  const copied = holdNext(home, "putIfNewer", "before it");

  const closingAtHome = Promise.all(atHome.map(close));
  saved.letGo();
  await copied.arrived;
  await running.clock.turn(20);
  copied.letGo();
  const { outcome } = await closing;
  await closingAtHome;

  expect(outcome).toBe("stored");
  expect(await attributesOf(running.start(), client.cookie)).toMatchObject({
    first: 1,
    other0: 0,
    other1: 1,
  });
});

it("a save that goes elsewhere overwrites nothing that is on the nodes which it does not go to", async () => {
  const { running, one, client } = await begin({ mode: "non-sticky", nodeIds: ["n1", "n2", "n3"] });
  const home = homeOf(client.cookie);
  const order = ["n1", "n2", "n3", "n1", "n2"];
  const [primary, secondary] = order.slice(order.indexOf(home)).map((id) => running.nodes[id]!);
  primary!.failNext(1);
  const request = await open(one, client.cookie);
  await request.session!.reload(); // it goes on where the copy is from now on
  await client.visit(one, (attributes) => {
    attributes.first = 1;
  });
  request.session!.attributes.second = 2;
  secondary!.failNext(1);

  const { outcome, cookie = client.cookie } = await close(request);

  expect(outcome).toBe("stored");
  for (const each of [client.cookie, cookie]) {
    expect(await attributesOf(running.start(), each)).toMatchObject({ first: 1, second: 2 });
  }
});

it("a copy that comes late changes nothing, though a request that met another's save has gone on from there since", async () => {
  const addUp = ({ base, mine, theirs }: Record<"base" | "mine" | "theirs", unknown>) =>
    Number(mine) + Number(theirs) - Number(base);
  const { running, one, client } = await begin({ mode: "non-sticky", onConflict: addUp });
  const other = running.nodes[homeOf(client.cookie) === "n1" ? "n2" : "n1"]!;
  const count = (process = one) => client.visit(process, (attributes) => void attributes.count++);
  for (let before = 0; before < 10; before++) await count();
  const [late, meeting] = [await open(one, client.cookie), await open(running.start(), client.cookie)];
  for (const { session } of [late, meeting]) session!.attributes.count++;

  const copied = holdNext(other, "putIfNewer", "before it");
  const closing = close(late);
  await copied.arrived; // it is saved, and its copy is on its way
  await count(running.start());
  await close(meeting);
  copied.letGo();

  expect((await closing).outcome).toBe("stored");
  expect(await attributesOf(running.start(), client.cookie)).toMatchObject({ count: 13 });
});
