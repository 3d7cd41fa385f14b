import { expect, it } from "vitest";
import { type TestClient, testClient, testClock } from "../../src/index.js";
import { type Process, passing, startProcesses } from "./separate-views.js";

/** As long as it takes a process to learn what others have put up. */
const noticedWithinMs = 2000;

it("a log-out that its node misses is heard of by those that have compared the session before, in the same outage", async () => {
  const clock = testClock();
  const [one, two] = startProcesses(2, clock) as [Process, Process];
  const clients = await startOnOneNode(two);
  const [first, second] = clients as [TestClient, TestClient];
  const primary = nodeOf(second);
  one.ways[primary]!.goDown();
  await clock.turn(1100);
  await passing(
    clock,
    testClient(first.cookie).visit(one.manager, (_, session) => session.destroy()),
  );
  await clock.turn(noticedWithinMs);
  await passing(clock, testClient(second.cookie).visit(two.manager));

  await passing(
    clock,
    testClient(second.cookie).visit(one.manager, (_, session) => session.destroy()),
  );
  await clock.turn(noticedWithinMs);

  const { session } = await passing(clock, testClient(second.cookie).visit(two.manager));
  expect(session?.attributes.user).toBeUndefined();
});

/** Two sessions whose records are on the same node. */
async function startOnOneNode({ manager }: Process): Promise<TestClient[]> {
  const clients: TestClient[] = [];
  while (clients.filter((client) => nodeOf(client) === nodeOf(clients[0]!)).length < 2) {
    const client = testClient();
    await client.visit(manager, (attributes) => {
      attributes.user = "anna";
    });
    clients.push(client);
  }
  return clients.filter((client) => nodeOf(client) === nodeOf(clients[0]!));
}

const nodeOf = ({ cookie }: TestClient): string => cookie!.split("-")[1]!;
