import { type CommitResult, MsmError, type SessionExchange } from "@msm/core";
import { clearingHeader, setCookieHeader } from "../cookie-header.js";
import { isSecure } from "../sessions.js";
import type { SignedId } from "../signed-ids.js";
import { type SessionHome, StoredSession } from "./stored-session.js";

const unneeded: CommitResult = { outcome: "unneeded" };

/**
 * One request with a session in a store: what is stored, renewed and announced at its end, by the rules of
 * @fastify/session's `onSend` (index.js).
 */
export class StoreExchange implements SessionExchange {
  /** There is no session of the core's. */
  readonly session = undefined;
  readonly #home: SessionHome;
  /** What the client's cookie says; undefined where it has none that is signed. */
  readonly #carried: SignedId | undefined;
  readonly #cookieHeader: string | undefined;
  #commits: Promise<CommitResult> = Promise.resolve(unneeded);
  #isAnnounced = false;
  #hasFailed = false;
  #headersSent = false;

  constructor(home: SessionHome, carried: SignedId | undefined, cookieHeader: string | undefined) {
    this.#home = home;
    this.#carried = carried;
    this.#cookieHeader = cookieHeader;
  }

  commit(): Promise<CommitResult> {
    this.#commits = this.#commits.then(() =>
      this.#commit().catch((thrown: unknown): CommitResult => {
        this.#hasFailed = true;
        return { outcome: "failed", error: MsmError.from(thrown, "MSM_ERR_STORAGE_UNAVAILABLE") };
      }),
    );
    return this.#commits;
  }

  cookie(): string | undefined {
    this.#headersSent = true;
    const { ids, cookie } = this.#home.settings;
    const session = this.#session;
    if (this.#hasFailed || (session === undefined && !this.#home.isDestroyed)) return undefined;
    if (session !== undefined && this.#isAnnounced) {
      const { priority, encode } = cookie;
      return setCookieHeader(ids.name, ids.cookieValue(session.encryptedSessionId), session.cookie, {
        priority,
        ...(encode === undefined ? {} : { encode }),
      });
    }
    // The client has a cookie, and it is worth nothing.
    const isOfNoUse = session === undefined || this.#carried?.id !== session.sessionId;
    return isOfNoUse && ids.isIn(this.#cookieHeader)
      ? clearingHeader(ids.name, cookie.domain, cookie.path)
      : undefined;
  }

  async end(): Promise<void> {}

  async #commit(): Promise<CommitResult> {
    const session = this.#session;
    if (session === undefined || this.#isInsecure(session)) return unneeded;
    if (StoredSession.hasEnded(session)) return { outcome: "discarded" };

    const { rolling, saveUninitialized } = this.#home.settings;
    const isKnown = this.#carried?.id === session.sessionId;
    const isChanged = session.isModified();
    const isWanted = isKnown || this.#isAnnounced || isChanged || saveUninitialized || session.isSaved();
    if (!isWanted) return unneeded;
    this.#checkAnnouncement(isKnown, isChanged);
    const isStored = await this.#store(session, isKnown);
    this.#isAnnounced ||=
      !isKnown ||
      isStored ||
      rolling ||
      session.isSaved() ||
      this.#carried?.signed !== session.encryptedSessionId;
    return isStored ? { outcome: "stored" } : unneeded;
  }

  /** @returns whether the session was stored, and not merely renewed */
  async #store(session: StoredSession, isKnown: boolean): Promise<boolean> {
    const { rolling, renewals, calls } = this.#home.settings;
    if (StoredSession.isToBeStored(session)) {
      await session.save();
      return true;
    }
    if (isKnown && rolling && renewals.isDue(session.sessionId, session.cookie.originalMaxAge)) {
      await calls.renew(session.sessionId, session);
      renewals.note(session.sessionId);
    }
    return false;
  }

  /** @throws MsmError where the client can no longer be told of a session that begins now */
  #checkAnnouncement(isKnown: boolean, isChanged: boolean): void {
    if (isKnown || !this.#headersSent || this.#isAnnounced || !isChanged) return;
    throw new MsmError(
      "MSM_ERR_HEADERS_SENT",
      "a new session got its first attribute after the response's headers were sent, so the client cannot be told its id",
    );
  }

  /** Such a cookie is not for connections without TLS, so there the session is neither stored nor announced. */
  #isInsecure({ cookie }: StoredSession): boolean {
    return cookie.secure === true && !isSecure(this.#home.target);
  }

  /** What the application has left in `request.session`; undefined where that is no session any more. */
  get #session(): StoredSession | undefined {
    const { session } = this.#home.target;
    return session instanceof StoredSession ? session : undefined;
  }
}
