import { MsmError } from "../errors.js";
import type { Parts } from "../parts.js";
import type { ResolveEncoded } from "../session/merge.js";
import type { SessionIdentity } from "../session/session-id.js";

/**
 * Gives a session its resolver of conflicts, as `onConflict` says, which tells of each by an event.
 * @param isStrict whether nothing may be overwritten, as a request has, or thought to have, the session to itself; a
 *   function of the application's knows better, and is asked all the same
 */
export function conflictResolver(
  identity: SessionIdentity,
  parts: Parts,
  isStrict = parts.locking.isStrict,
): ResolveEncoded {
  const { onConflict: chosen } = parts.options;
  return resolverFor(isStrict && chosen === "last-write-wins" ? "fail" : chosen, identity, parts);
}

/** As `conflictResolver`, for changes that were acknowledged before: nobody can be told that they gave way. */
export function resolverForAcknowledged(identity: SessionIdentity, parts: Parts): ResolveEncoded {
  const { onConflict: chosen } = parts.options;
  return resolverFor(chosen === "fail" ? "last-write-wins" : chosen, identity, parts);
}

function resolverFor(
  onConflict: Parts["options"]["onConflict"],
  identity: SessionIdentity,
  parts: Parts,
): ResolveEncoded {
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
