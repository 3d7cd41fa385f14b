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
    await this.#home.calls.settle();
    const session = this.#session;
    if (session === undefined || this.#isInsecure(session)) return unneeded;
    if (StoredSession.hasEnded(session)) return { outcome: "discarded" };

    const { rolling, saveUninitialized } = this.#home.settings;
    const isKnown = this.#carried?.id === session.sessionId;
    const { isModified, isToBeStored } = StoredSession.changeOf(session);
    const isWanted = isKnown || this.#isAnnounced || isModified || saveUninitialized || session.isSaved();
    if (!isWanted) return unneeded;
    this.#checkAnnouncement(isKnown, isModified);
    if (isToBeStored) await session.save();
    else if (isKnown && rolling) await this.#renew(session);
    this.#isAnnounced ||=
      !isKnown ||
      isToBeStored ||
      rolling ||
      session.isSaved() ||
      this.#carried?.signed !== session.encryptedSessionId;
    return isToBeStored ? { outcome: "stored" } : unneeded;
  }

  /** Prolongs the life of a session that nothing changed, if that was not done a short while ago. */
  async #renew(session: StoredSession): Promise<void> {
    const { renewals, calls } = this.#home.settings;
    if (!renewals.isDue(session.sessionId, session.cookie.originalMaxAge)) return;
    await calls.renew(session.sessionId, session);
    renewals.note(session.sessionId);
  }

  /** @throws MsmError where the client can no longer be told of a session that begins now */
  #checkAnnouncement(isKnown: boolean, isModified: boolean): void {
    if (isKnown || !this.#headersSent || this.#isAnnounced || !isModified) return;
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
