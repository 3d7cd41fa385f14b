import { expect, it } from "vitest";
import { Background } from "../background.js";
import { createParts } from "../create-parts.js";
import { turnableClock } from "../failover/turnable-clock.js";
import { resolveOptions } from "../resolve-options.js";
import { RestingTable } from "../session/resting-table.js";
import { memoryStorage } from "../storage/memory.js";
import { Backups } from "./backups.js";
import { create } from "./load.js";
import { LocalSessions } from "./local-sessions.js";
import { startMaintenance } from "./maintenance.js";

const sweepEveryMs = 60_000;

it("a session that nobody used from one sweep to the next is packed up, and one that was used is not", async () => {
  const { clock, turn } = turnableClock();
  const options = resolveOptions({
    secret: "a secret of more than 32 bytes, at least",
    mode: "sticky",
    route: "app1",
    idleTimeoutMs: 10 * sweepEveryMs,
    clock,
  });
  const parts = createParts(options, () => [
    {
      id: "n1",
      failoverOnly: false,
      address: "memory",
      kind: "memory",
      settings: "",
      connect: () => memoryStorage({ clock }),
    },
  ]);
  const sessions = new LocalSessions({ maxLocalSessions: 10 }, parts);
  const backups = new Backups({ route: "app1" }, parts);
  const maintenance = startMaintenance(sessions, backups, new Background(), parts);
  const stored = async () => {
    const local = sessions.add(create(parts, {}));
    local.live.assign("theme", "dark", {});
    await backups.upTo(
      local,
      local.live.fold(["theme"], () => {}),
    );
    return local;
  };
  const [idle, used] = [await stored(), await stored()];
  const areResting = () => [idle, used].map(({ live }) => live.table instanceof RestingTable);

  await turn(sweepEveryMs);
  expect(areResting()).toEqual([false, false]);
  sessions.use(used.live.identity.id);
  await turn(sweepEveryMs);

  expect(areResting()).toEqual([true, false]);
  maintenance.stop();
  await parts.ring.close();
});
