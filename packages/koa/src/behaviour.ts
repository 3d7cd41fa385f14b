import { randomUUID } from "node:crypto";
import type { Context } from "koa";
import { booleanOption, checkMethods, wrongOption } from "./check.js";
import type { MaxAge } from "./opened-session.js";
import type { ExternalKey, KoaOptions } from "./options.js";

/** What koa-session does beside storing, with every default filled in. */
export interface Behaviour {
  readonly autoCommit: boolean;
  readonly rolling: boolean;
  readonly renew: boolean;
  /** What `ctx.session.maxAge` gives where a session has no age of its own. */
  readonly maxAge: MaxAge;
  readonly externalKey: ExternalKey | undefined;
  /** Makes the id of a new session; undefined: as it is made by default. */
  readonly newId: ((ctx: Context) => string) | undefined;
  readonly valid: KoaOptions["valid"];
  readonly beforeSave: KoaOptions["beforeSave"];
}

/** Names of the options that this file knows. */
export const behaviourNames = [
  ...["autoCommit", "rolling", "renew", "externalKey", "genid", "prefix", "valid", "beforeSave"],
] as const;

/**
 * Checks koa-session's options beside those for the cookie, and fills in the defaults.
 * @throws MsmError MSM_ERR_OPTION
 */
export function resolveBehaviour(options: KoaOptions, maxAge: MaxAge): Behaviour {
  const { externalKey, genid, prefix, valid, beforeSave } = options;
  if (externalKey !== undefined) {
    if (typeof externalKey !== "object" || externalKey === null)
      throw wrongOption("externalKey", "an object with get(ctx) and set(ctx, id)", externalKey);
    checkMethods("externalKey", externalKey, ["get", "set"]);
  }
  for (const [name, hook] of Object.entries({ genid, valid, beforeSave })) {
    if (hook !== undefined && typeof hook !== "function") throw wrongOption(name, "a function", hook);
  }
  if (prefix !== undefined && typeof prefix !== "string") throw wrongOption("prefix", "a text", prefix);
  return Object.freeze({
    autoCommit: booleanOption("autoCommit", options.autoCommit, true),
    rolling: booleanOption("rolling", options.rolling, false),
    renew: booleanOption("renew", options.renew, false),
    maxAge,
    externalKey,
    newId: genid ?? (prefix ? () => `${prefix}${randomUUID()}` : undefined),
    valid,
    beforeSave,
  });
}

/** Milliseconds, or until the browser is closed. @throws MsmError MSM_ERR_OPTION */
export function resolveMaxAge({ maxAge, maxage }: { maxAge?: unknown; maxage?: unknown }): MaxAge {
  const given = maxAge ?? maxage;
  if (maxAge === undefined && maxage !== undefined) {
    process.emitWarning("`maxage` is called `maxAge`", {
      type: "DeprecationWarning",
      code: "MSM_DEP_MAXAGE",
    });
  }
  if (given === undefined || given === null || given === 0) return undefined;
  if (given === "session") return given;
  if (typeof given === "number" && given > 0) return given;
  throw wrongOption("maxAge", 'a number of milliseconds above 0, or "session"', given);
}
