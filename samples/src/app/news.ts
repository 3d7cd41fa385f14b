import type { SessionEvents, SessionManager } from "@msm/core";
import type { News } from "../cluster/journal.js";

type Telling = { [E in keyof SessionEvents]?: (detail: SessionEvents[E]) => News };

const plain = (text: string): News => ({ text, tone: "plain" });
const good = (text: string): News => ({ text, tone: "good" });
const trouble = (text: string): News => ({ text, tone: "trouble" });

const whatStands = { mine: "the later value", theirs: "the earlier value", resolved: "a value of both" };
const afterWaiting = { refused: "is refused", optimistic: "goes on without a lock" };

const tellings: Telling = {
  created: ({ session, node }) => plain(`session ${session} begins, stored on ${node}`),
  takenOver: ({ session, from, to }) =>
    plain(`session ${session} is now ${to}'s${from ? `, it was ${from}'s` : ""}`),
  relocated: ({ session, from, to }) => plain(`session ${session} moves from ${from} to ${to}`),
  merged: ({ session, attributes }) =>
    plain(`session ${session}: two requests changed it at once, and were merged${listed(attributes)}`),
  conflict: ({ session, attribute, kept }) =>
    trouble(`session ${session}: two requests changed "${attribute}" at once; ${whatStands[kept]} stands`),
  lockTimedOut: ({ session, outcome }) =>
    trouble(`session ${session}: a request waited in vain for those before it, and ${afterWaiting[outcome]}`),
  leaseLost: ({ session, heldMs }) =>
    trouble(
      `session ${session}: a request lost its lock after ${(heldMs / 1000).toFixed(1)} s, before its end`,
    ),
  repaired: ({ session, node }) => good(`session ${session} is on ${node} again`),
  spoilt: ({ session, node }) =>
    trouble(`session ${session}: its record on ${node} failed its check and was not used`),
  destroyed: ({ session }) => plain(`session ${session} is ended`),
  regenerated: ({ session, from }) => plain(`session ${from} is called ${session} from now on`),
  commitFailed: ({ session, error }) => trouble(`session ${session} could not be saved: ${error.message}`),
  kept: ({ session }) => trouble(`session ${session} is in memory only: no node can be reached`),
  nodeDown: ({ node }) => trouble(`${node} does not answer`),
  nodeUp: ({ node, downMs }) => good(`${node} answers again, after ${(downMs / 1000).toFixed(1)} s`),
  warning: ({ message }) => trouble(message),
};

function listed(attributes: readonly string[]): string {
  return attributes.length === 0 ? "" : ` (${attributes.join(", ")})`;
}

/** Tells what happens to sessions and nodes, in words. */
export function tellNews(manager: SessionManager, tell: (news: News) => void): void {
  const listen = <E extends keyof SessionEvents>(event: E) => {
    const telling = tellings[event];
    if (telling) manager.on(event, (detail) => tell(telling(detail)));
  };
  for (const event of Object.keys(tellings)) listen(event as keyof SessionEvents);
}
