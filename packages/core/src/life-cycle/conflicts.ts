import { MsmError } from "../errors.js";
import type { Parts } from "../parts.js";
import type { EncodedConflict } from "../session/merge.js";
import type { SessionIdentity } from "../session/session-id.js";

/** What stands where two requests changed the same attribute; chosen once from `onConflict`. */
export type ResolveConflict = (conflict: EncodedConflict) => Uint8Array | undefined;

/** Gives a session its resolver of conflicts, which tells of each by an event. */
export function conflictResolver(identity: SessionIdentity, parts: Parts): ResolveConflict {
  const { onConflict } = parts.options;
  const tell = (attribute: string, kept: "mine" | "resolved" | "theirs") =>
    parts.events.emit("conflict", { session: identity.name, attribute, kept });

  if (onConflict === "last-write-wins") {
    return ({ name, mine }) => {
      tell(name, "mine");
      return mine;
    };
  }
  if (onConflict === "fail") {
    return ({ name }) => {
      tell(name, "theirs");
      throw new MsmError(
        "MSM_ERR_CONFLICT",
        `another request changed the session attribute "${name}" in the meantime`,
      );
    };
  }
  const codec = parts.codecs.current;
  const decode = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : codec.decode(bytes));
  return ({ name, base, mine, theirs }) => {
    try {
      const kept = onConflict({ name, base: decode(base), mine: decode(mine), theirs: decode(theirs) });
      if (kept instanceof Promise)
        throw new TypeError("onConflict must give the value to keep, not a promise of it");
      tell(name, "resolved");
      return codec.encode(kept);
    } catch (error) {
      throw MsmError.from(error, "MSM_ERR_CONFLICT");
    }
  };
}
