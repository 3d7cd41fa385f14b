import { type KeptAttributes, MsmError, type RegenerateOptions } from "@msm/core";
import type { Request } from "express";
import expressSession, { type Session, type SessionData } from "express-session";
import { callStore, type StoreCallback } from "./store-calls.js";
import { birthAttribute } from "./store-options.js";

/** Is told of the outcome of a call, before whoever called is; undefined where the store is not to hear of the call. */
export type Told = StoreCallback | undefined;

/** What goes along with the calls of one request's session. */
export interface SessionCompany {
  /** The longest that a store may take for one of them. */
  readonly timeoutMs: number;
  saving(session: Session): Told;
  reloading(): Told;
  destroying(session: Session): Told;
  regenerating(session: Session, options: RegenerateOptions): Told;
  /** A method was called without a callback: nobody else may look at what comes of it. @returns that, for whoever called */
  note(outcome: Promise<void>): Promise<void>;
}

type Method = (this: StoredSession, callback: StoreCallback) => unknown;

/** express-session's types leave out its request. */
type StoredSession = Session & SessionData & { readonly req: Express.Request };

const { Session: ExpressSession, Store } = expressSession;

/** express-session's own do not give what the store gives, which may be a promise that rejects. */
const transparent: readonly (readonly [Method, Method])[] = [
  [
    ExpressSession.prototype.save,
    function (callback) {
      return this.req.sessionStore.set(this.id, this, callback);
    },
  ],
  [
    ExpressSession.prototype.destroy,
    function (callback) {
      Reflect.deleteProperty(this.req, "session");
      return this.req.sessionStore.destroy(this.id, callback);
    },
  ],
  [
    ExpressSession.prototype.regenerate,
    function (callback) {
      const { req } = this;
      const store = req.sessionStore;
      if (store.regenerate !== Store.prototype.regenerate) return store.regenerate(req as Request, callback);
      return store.destroy(req.sessionID, (error) => {
        // express-session's begins another session all the same: its client would lose one that goes on.
        if (!error) store.generate(req);
        callback(error);
      });
    },
  ],
];

/**
 * Gives a session methods that call those which it has, take a callback or give a promise, and call back once. The
 * methods are those of the class or of the store's own session, whatever they are.
 */
export function accompany(session: Session, company: SessionCompany): void {
  replace(session, "save", company, () => company.saving(session));
  replace(session, "reload", company, () => company.reloading());
  replace(session, "destroy", company, () => company.destroying(session));
  replace(session, "regenerate", company, (options) => company.regenerating(session, options));
}

/** @param begin called at each call of the method; may throw */
function replace(
  session: Session,
  name: "save" | "reload" | "destroy" | "regenerate",
  { timeoutMs, note }: SessionCompany,
  begin: (options: RegenerateOptions) => Told,
): void {
  const original = session[name] as Method | undefined;
  if (original === undefined) return; // a session of the store's own class, which has none
  const [, call = original] = transparent.find(([own]) => own === original) ?? [];

  function run(self: StoredSession, options: RegenerateOptions, done: StoreCallback): void {
    const told = begin(options);
    if (told === undefined) return void process.nextTick(done);
    callStore(
      name,
      timeoutMs,
      (callback) => call.call(self, callback),
      (...results) => {
        told(...results);
        done(...results);
      },
    );
  }

  function method(this: StoredSession, ...args: readonly unknown[]): unknown {
    const options = typeof args[0] === "object" && args[0] !== null ? args[0] : {};
    const callback = args.find((arg) => typeof arg === "function") as StoreCallback | undefined;
    if (callback !== undefined) {
      run(this, options, callback);
      return this;
    }
    const outcome = new Promise<void>((resolve, reject) => {
      run(this, options, (error) => (error ? reject(error) : resolve()));
    });
    return note(outcome);
  }
  Object.defineProperty(session, name, { value: method, writable: true, configurable: true });
}

/** The attributes that go on under a session's new id. @throws MsmError MSM_ERR_OPTION */
export function kept(session: Session, { keep = "none", grace = false }: RegenerateOptions): object {
  if (grace) {
    throw new MsmError(
      "MSM_ERR_OPTION",
      "regenerate({ grace: true }) needs msm's `nodes`: a `store` cannot lead from the old id to the new one",
    );
  }
  const { cookie: _, ...attributes } = session as Session & Record<string, unknown>;
  return pick(attributes, keep);
}

function pick(attributes: Record<string, unknown>, keep: KeptAttributes | boolean): object {
  if (keep === "all" || keep === true) return attributes;
  if (keep === "none" || keep === false) return {};
  return Object.fromEntries(
    Object.entries(attributes).filter(([name]) => name === birthAttribute || keep.includes(name)),
  );
}
