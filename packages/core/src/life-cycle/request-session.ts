import { milliseconds } from "../milliseconds.js";
import type { LiveSession } from "../session/live-session.js";
import type { Attributes, MemberRules, RegenerateOptions, Session } from "../session/session.js";
import { type SessionView, viewAsObject } from "../session/session-view.js";

/** What a session asks of its exchange. */
export interface SessionHandle {
  readonly isNew: boolean;
  readonly isLocked: boolean;
  /** Another one after `regenerate()` and `reload()`. */
  readonly view: SessionView;
  cookieMaxAgeMs: number | undefined;
  setIdleTimeoutMs(ms: number): void;
  lock(): Promise<void>;
  release(): Promise<void>;
  save(): Promise<void>;
  reload(): Promise<void>;
  regenerate(options: RegenerateOptions): Promise<void>;
  destroy(): Promise<void>;
  touch(): void;
}

/** The session as a handler sees it, in either mode. */
export class RequestSession implements Session {
  readonly #handle: SessionHandle;
  #attributes: Attributes | undefined;

  constructor(handle: SessionHandle) {
    this.#handle = handle;
  }

  get id(): string {
    return this.#live.identity.id;
  }

  get isNew(): boolean {
    return this.#handle.isNew;
  }

  get createdAtMs(): number {
    return this.#live.createdAtMs;
  }

  get idleTimeoutMs(): number {
    return this.#live.idleTimeoutMs;
  }

  set idleTimeoutMs(ms: number) {
    this.#handle.setIdleTimeoutMs(milliseconds("session.idleTimeoutMs", ms));
  }

  get cookieMaxAgeMs(): number | undefined {
    return this.#handle.cookieMaxAgeMs;
  }

  set cookieMaxAgeMs(ms: number | undefined) {
    this.#handle.cookieMaxAgeMs = ms === undefined ? undefined : milliseconds("session.cookieMaxAgeMs", ms);
  }

  get attributes(): Attributes {
    this.#attributes ??= this.attributesWith(Object.create(null) as object);
    return this.#attributes;
  }

  attributesWith<T extends object>(members: T, rules?: MemberRules): T & Attributes {
    return viewAsObject(this.#handle, members, rules);
  }

  has(name: string): boolean {
    return this.#live.has(name);
  }

  get isEmpty(): boolean {
    return this.#live.names().length === 0;
  }

  get isModified(): boolean {
    return this.#handle.view.isModified;
  }

  get isLocked(): boolean {
    return this.#handle.isLocked;
  }

  lock(): Promise<void> {
    return this.#handle.lock();
  }

  release(): Promise<void> {
    return this.#handle.release();
  }

  save(): Promise<void> {
    return this.#handle.save();
  }

  reload(): Promise<void> {
    return this.#handle.reload();
  }

  regenerate(options: RegenerateOptions = {}): Promise<void> {
    return this.#handle.regenerate(options);
  }

  destroy(): Promise<void> {
    return this.#handle.destroy();
  }

  touch(): void {
    this.#handle.touch();
  }

  get #live(): LiveSession {
    return this.#handle.view.live;
  }
}
