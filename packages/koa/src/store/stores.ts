import type { Context } from "koa";
import { emitLater } from "../koa-events.js";
import type { OpenedSession, ShownOptions } from "../opened-session.js";
import type { StoredData, StoreOptions } from "../options.js";
import { cookieValues, signedValues, verifierOf } from "../signed-cookies.js";
import type { GuardedStore } from "./guarded-store.js";
import { type CookieSettings, type ResolvedStore, resolveStore } from "./store-options.js";
import { StoreSession } from "./store-session.js";

/** Opens sessions that a koa-session store keeps, by koa-session's rules. */
export class Stores {
  readonly #options: ResolvedStore;

  /** @throws MsmError MSM_ERR_OPTION */
  constructor(options: StoreOptions) {
    this.#options = resolveStore(options);
  }

  /** What `ctx.sessionOptions` shows. */
  get shown(): ShownOptions {
    const { key, cookie, behaviour } = this.#options;
    const { autoCommit, rolling, renew, maxAge } = behaviour;
    return { ...cookie, key, maxAge, autoCommit, rolling, renew };
  }

  /** Rejects where the store cannot be read. */
  async open(ctx: Context): Promise<OpenedSession> {
    const { storeFor, behaviour, key: name, cookie } = this.#options;
    const store = storeFor(ctx);
    const begunAt = this.#options.ended.moment();
    const id = behaviour.externalKey ? behaviour.externalKey.get(ctx) : readCookie(ctx, name, cookie);
    const data = id ? await this.#load(ctx, store, id) : undefined;
    const found = data && id ? { id, data } : undefined;
    return new StoreSession(ctx, store, this.#options, this.shown, { begunAt, found });
  }

  async #load(ctx: Context, store: GuardedStore, id: string): Promise<StoredData | undefined> {
    const { behaviour, absoluteTimeoutMs } = this.#options;
    const details = { ctx, rolling: behaviour.rolling };
    const value = await store.get(id, behaviour.maxAge, details);
    const detail = { key: id, value, ctx };
    if (!isData(value)) emitLater(ctx, "missed", detail);
    else if (isOver(value, absoluteTimeoutMs)) emitLater(ctx, "expired", detail);
    else if (behaviour.valid !== undefined && !behaviour.valid(ctx, value)) emitLater(ctx, "invalid", detail);
    else return value;
    return undefined;
  }
}

/**
 * As koa reads it; where a browser sends several of the name, as it does after a change of path or domain, the first whose
 * signature holds.
 */
function readCookie(ctx: Context, name: string, settings: CookieSettings): string | undefined {
  const header = ctx.get("cookie");
  const verify = settings.signed ? verifierOf(ctx.app.keys) : undefined;
  if (verify === undefined || cookieValues(header, name).length < 2) return ctx.cookies.get(name, settings);
  const [first] = signedValues(header, name, verify);
  return first;
}

const isData = (value: unknown): value is StoredData => typeof value === "object" && value !== null;

function isOver({ _expire, _created }: StoredData, absoluteTimeoutMs: number | undefined): boolean {
  const now = Date.now();
  if (typeof _expire === "number" && _expire < now) return true;
  return (
    absoluteTimeoutMs !== undefined && typeof _created === "number" && _created + absoluteTimeoutMs < now
  );
}
