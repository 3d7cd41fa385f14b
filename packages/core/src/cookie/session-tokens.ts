import { identify, type SessionIdentity } from "../session/session-id.js";

/** A session as a client names it, verified. */
export interface CarriedSession {
  readonly id: string;
  /**
   * Id of the node that held the session's record when the client was told of it; undefined where that is not said: then
   * all nodes are asked.
   */
  readonly node?: string | undefined;
  /** Sticky: the process that the balancer sends the client to. Nothing is believed of it. */
  readonly route?: string | undefined;
  /** What the client sent, whole. */
  readonly value: string;
  /** Whether `value()` would make the same of it again; where that is not said, it is asked. */
  readonly isCurrent?: boolean | undefined;
  /** What is derived from the id, where that is at hand. */
  readonly identity?: SessionIdentity | undefined;
}

/** What is derived from the id of a session that a client names. */
export const identityOf = ({ id, identity }: CarriedSession): SessionIdentity => identity ?? identify(id);

/** How clients carry the name of their session: what stands in the session cookie. */
export interface SessionTokens {
  /** The session that a request's raw Cookie header names; undefined where it names none that verifies. Never throws. */
  read(cookieHeader: string | undefined): CarriedSession | undefined;
  /**
   * What a client is to send from now on.
   * @param node id of the node that holds the session's record
   * @param route sticky: the process that owns the session
   */
  value(id: string, node: string, route: string | undefined): string;
}

/** Where a session is looked for first. */
export const hintOf = (
  { node }: Pick<CarriedSession, "node">,
  identity: SessionIdentity,
  ring: { place(digest: string): { readonly id: string } },
): string | { readonly guess: string } => node ?? { guess: ring.place(identity.digest).id };
