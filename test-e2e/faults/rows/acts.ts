import type { FaultProxy } from "@msm/conformance";
import { waitUntil } from "@msm/conformance";
import type { App } from "../bench.js";
import type { Stage } from "../row.js";
import type { Asked, AskOptions, TrackedSession } from "../tracked-session.js";

/** Cuts what goes through a proxy, and takes no new connection until `pass()`. */
export function cutOff(proxy: FaultProxy): void {
  proxy.refuse();
  proxy.endAll("rst");
}

/** Asks for an operation, and waits until its handler runs. @returns undefined where it was answered before that */
export async function askAndMeet(
  { bench }: Stage,
  session: TrackedSession,
  options: AskOptions,
): Promise<Asked | undefined> {
  const asked = session.ask("append", { ...options, tells: true });
  let isAnswered = false;
  void asked.answered.then(() => {
    isAnswered = true;
  });
  await waitUntil("the handler runs, or never will", () => isAnswered || bench.thinking.has(asked.id), {
    timeoutMs: 30_000,
    everyMs: 2,
  });
  return isAnswered ? undefined : asked;
}

/** A live session that nobody uses, chosen at random. @returns undefined where there is none */
export function anyQuiet(
  { population, random }: Stage,
  isWanted: (session: TrackedSession) => boolean = () => true,
): TrackedSession | undefined {
  const quiet = population.live.filter((each) => each.isQuiet && !each.isChanging && isWanted(each));
  return quiet.length === 0 ? undefined : random.pick(quiet);
}

/** The first process, and the other one. */
export function bothApps({ bench }: Stage): readonly [App, App] {
  return [bench.apps[0]!, bench.apps[1]!];
}

/** The most that any session's cookie was changed to another node. */
export const mostRelocations = ({ population }: Stage): number =>
  Math.max(0, ...population.sessions.map(({ relocations }) => relocations));
