import { MsmError } from "../errors.js";
import type { Parts } from "../parts.js";
import type { AttributeTable } from "../session/attribute-table.js";
import type { LiveSession } from "../session/live-session.js";
import type { SuccessorPlace } from "../session/record.js";
import type { KeptAttributes } from "../session/session.js";
import { endingRecord, endUnlessNewer } from "./bury.js";
import type { Keeper } from "./keeper.js";

/** A session that gets a new id, and is to end under its former one once the new one is stored. */
export interface Renewal {
  readonly former: LiveSession;
  readonly next: LiveSession;
  readonly keep: KeptAttributes;
  /** Whether the former id leads to the new one for a while. */
  readonly grace: boolean;
  /** The former's table when it was given up. */
  readonly base: AttributeTable;
  /** Set once its end is on a node, with where that leads: a commit that failed behind it is tried again. */
  readonly progress: { ended?: { readonly leadsTo: SuccessorPlace | undefined } };
}

/**
 * The renewals of a request with one more. A new id that gets another one before it was stored is none that anybody knows:
 * who was to become that one becomes the newest.
 */
export function renewed(renewals: readonly Renewal[], newest: Renewal): readonly Renewal[] {
  const { former, next, keep, grace } = newest;
  const redirected = renewals.map((earlier) =>
    earlier.next === former
      ? {
          ...earlier,
          next,
          keep: keep === "all" ? earlier.keep : keep,
          grace: earlier.grace && grace,
        }
      : earlier,
  );
  const isUnknown = renewals.some(
    ({ next: known, progress }) => known === former && former.stored === undefined && !progress.ended,
  );
  const isKnown = former.announced && !former.destroyed && !isUnknown;
  return isKnown ? [...redirected, newest] : redirected;
}

/**
 * What became of a session under its former id:
 * - `ended`: by this renewal
 * - `destroyed`: by another request, before this renewal was done
 * - `renewed`: by another request before; the session goes on as `by`, which has what this one had taken along: `base`
 */
export type Ending =
  | { readonly kind: "ended" }
  | { readonly kind: "destroyed" }
  | { readonly kind: "renewed"; readonly by: LiveSession; readonly base: AttributeTable };

/** Who changes a session faster than it can be handed on changes it after its end. */
const mostTries = 32;

/** A node that may have missed the end only, or only its answer, is asked once more. */
const mostOutages = 2;

/**
 * Ends a session under its former id, unless another request did. What others saved there since it was given up goes
 * along where all of it was to. Nodes that do not take its end get it when they do.
 * @throws MsmError MSM_ERR_CONFLICT
 */
export async function endFormer(renewal: Renewal, keeper: Keeper, parts: Parts): Promise<Ending> {
  const { former, next, keep, grace, progress } = renewal;
  // A log-in owes nothing to what was there before, and takes nothing of it.
  const other = keep === "none" ? undefined : await endUnlessEnded(renewal, keeper, parts);
  if (other !== undefined && (grace || other.kind === "destroyed")) return other;
  const { leadsTo } = progress.ended ?? { leadsTo: grace ? placeOf(next) : undefined };
  await destroyWithHeirs(former, keeper, leadsTo).catch(unlessOutage);
  return { kind: "ended" };
}

/**
 * Ends a session; and where it had got a new id from another request, the session under that one as well.
 * @param successor where its id is to lead for a while
 */
export async function destroyWithHeirs(
  live: LiveSession,
  keeper: Keeper,
  successor?: SuccessorPlace,
): Promise<void> {
  let heir = live.destroyed ? live.successor?.live : undefined;
  let place = await keeper.destroy(live, successor);
  if (successor !== undefined && [place?.id, heir?.identity.id].includes(successor.id)) return;
  while (heir !== undefined || place !== undefined) {
    const ending: LiveSession | undefined = heir ?? (await keeper.find(place!));
    if (ending === undefined) return;
    heir = ending.destroyed ? ending.successor?.live : undefined;
    place = await keeper.destroy(ending);
  }
}

const placeOf = ({ identity, node }: LiveSession): SuccessorPlace => ({ id: identity.id, node });

/** The session itself, or the one that goes on in its place in this process; undefined where none does. */
export function heirOf(live: LiveSession): LiveSession | undefined {
  let heir: LiveSession | undefined = live;
  while (heir?.destroyed === true) heir = heir.successor?.live;
  return heir;
}

/**
 * Hands on what others save under the former id until that ends, under the version check: what came a moment before is in
 * the new session, and what comes a moment later meets the end.
 * @returns how another request ended the session; undefined where none did
 */
async function endUnlessEnded(renewal: Renewal, keeper: Keeper, parts: Parts): Promise<Ending | undefined> {
  const { former, next, keep, grace, progress } = renewal;
  const successor = grace ? placeOf(next) : undefined;
  const end = endingRecord(former, successor, parts);
  let handedOn = renewal.base;
  const isBehind = () => keep === "all" && former.table !== handedOn;
  /** Whoever meets the end before its answer is here knows by that where the session goes on, and with what. */
  const lead = () => {
    if (successor !== undefined) former.noteHeir({ ...successor, live: next, base: handedOn });
  };
  const takeAlong = () => {
    // This request saves later than they did.
    next.adopt(parts.merge(handedOn, next.table, former.table, next.resolve));
    handedOn = former.table;
    lead();
    if (former.successor !== undefined) former.successor = { ...former.successor, base: handedOn };
  };
  const keepNext = () => keeper.keep(next, next.changes, undefined);

  lead();
  let isUnsure = false;
  for (let tries = 0, outages = 0; tries < mostTries && outages < mostOutages; tries++) {
    if (progress.ended !== undefined) break;
    // Where the answer was lost, the end that another request found may be this one.
    if (former.destroyed && !isUnsure) return endingOf(renewal, handedOn, keeper);
    if (isBehind()) {
      takeAlong();
      await keepNext();
      continue; // others may have saved meanwhile
    }
    let isEnded: boolean | undefined;
    former.endsUnderWay++;
    try {
      isEnded = await endUnlessNewer(former, end, parts).catch(unlessOutage);
    } finally {
      former.endsUnderWay--;
    }
    if (isEnded === true) progress.ended = { leadsTo: successor };
    isUnsure = isEnded === undefined;
    if (isUnsure && !isBehind()) outages++;
  }
  if (progress.ended === undefined && former.destroyed) return endingOf(renewal, handedOn, keeper);
  // Wherever its end has got to: in this process nobody saves under the former id from now on.
  former.destroyed = true;
  if (successor !== undefined) former.successor ??= former.heir(successor.id);
  // Saved while its end was on its way to another node, as its own had not answered; or taken along by who saved it.
  handedOn = former.successor?.base ?? handedOn;
  if (isBehind() && unlessConflict(takeAlong)) await keepNext();
  return undefined;
}

/** @returns false where it meets a conflict: whoever made the change is told, when they go along by themselves */
function unlessConflict(takeAlong: () => void): boolean {
  try {
    takeAlong();
    return true;
  } catch (error) {
    if (!(error instanceof MsmError) || error.code !== "MSM_ERR_CONFLICT") throw error;
    return false;
  }
}

/** @returns undefined where it was ended by this renewal after all, whose answer was lost */
async function endingOf(
  { former, next }: Renewal,
  base: AttributeTable,
  keeper: Keeper,
): Promise<Ending | undefined> {
  const { successor } = former;
  if (successor?.id === next.identity.id) return undefined;
  const found = successor && (successor.live ?? (await keeper.find(successor)));
  const by = found && heirOf(found);
  return by === undefined ? { kind: "destroyed" } : { kind: "renewed", by, base };
}

/** What no node takes now is kept for all of them. @throws what is no outage */
export function unlessOutage(error: unknown): undefined {
  const isOutage = error instanceof MsmError && error.code.startsWith("MSM_ERR_STORAGE_");
  if (!isOutage) throw error;
}
