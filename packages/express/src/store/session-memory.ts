import type { Session } from "express-session";

/** A session as it was at some moment. */
interface Snapshot {
  readonly id: string;
  readonly json: string;
}

/**
 * The session's attributes as JSON, without its cookie: what is compared in order to know whether it has changed.
 * @throws TypeError where an attribute has no JSON, e.g. a BigInt
 */
export const jsonOf = (session: Session): string => JSON.stringify({ ...session, cookie: undefined });

/**
 * What the session of one request was when the request began, and when it was last saved. Compares JSON, where
 * express-session compares hashes of it (`isModified` and `isSaved` in its index.js).
 */
export class SessionMemory {
  #original: Snapshot | undefined;
  #saved: Snapshot | undefined;

  /** The request begins with this session. @param isSaved whether it need not be saved as long as it stays so */
  begin(session: Session, isSaved: boolean): void {
    this.#original = { id: session.id, json: jsonOf(session) };
    this.#saved = isSaved ? this.#original : undefined;
  }

  /** The session is about to be saved. @returns what takes that back, where it could not be */
  noteSaved({ id }: Session, json: string): () => void {
    const before = this.#saved;
    const now = { id, json };
    this.#saved = now;
    return () => {
      if (this.#saved === now) this.#saved = before;
    };
  }

  /** The session was read anew: that is what the store has. */
  noteReloaded(session: Session): void {
    if (this.#saved !== undefined) this.#saved = { id: session.id, json: jsonOf(session) };
  }

  /** True where the session was stored when the request began, or has been since. */
  get wasSaved(): boolean {
    return this.#saved !== undefined;
  }

  isModified({ id }: Session, json: string): boolean {
    return this.#original?.id !== id || this.#original.json !== json;
  }

  isSaved({ id }: Session, json: string): boolean {
    return this.#saved?.id === id && this.#saved.json === json;
  }
}
