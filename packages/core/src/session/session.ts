/** The attributes of a session, as the handler sees them: plain property access. */
// biome-ignore lint/suspicious/noExplicitAny: applications put what they like into their session
export type Attributes = Record<string, any>;

/** Which attributes a session keeps under its new id: all, none, or those named. */
export type KeptAttributes = "all" | "none" | readonly string[];

/** How a session gets a new id. */
export interface RegenerateOptions {
  /** Which attributes go on under the new id; true is "all", false is "none". Default "none". */
  readonly keep?: boolean | KeptAttributes;
  /**
   * For a plain renewal of the id, with `keep: "all"`: for 10 s, requests that still carry the old id get the session under
   * its new one, as do those that are running. Never at a log-in: who planted the old id would get in with it.
   * Default false.
   */
  readonly grace?: boolean;
}

/** How the members of an adapter's session object and the attributes get along. */
export interface MemberRules {
  /**
   * Members that give way to an attribute of their name, as soon as there is one: those that the library in whose place the
   * adapter stands does not have. Default none.
   */
  readonly yielding?: ReadonlySet<string>;
  /** Inherited members that are listed as if they were the object's own, so that copies have them. Default none. */
  readonly listed?: readonly string[];
  /** Which other names are the object's own, and never attributes. Default none. */
  readonly isOwn?: (name: string) => boolean;
}

/** One request's view of its session. */
export interface Session {
  /** 48 hexadecimal digits, or what `SessionRequest.newId` made; changes only by `regenerate()`. */
  readonly id: string;
  /** True where the client had no session before this request. */
  readonly isNew: boolean;
  readonly createdAtMs: number;

  /** Milliseconds of inactivity after which the session expires. Assigning stores it with the session. */
  idleTimeoutMs: number;

  /**
   * How long the browser keeps the cookie that goes out with this response; undefined: until it is closed. Assigning a
   * number sends the cookie anew. Holds for this response only: it is not stored with the session.
   */
  cookieMaxAgeMs: number | undefined;

  /**
   * Read, assign, delete as on any object. Reading decodes the one attribute; assigning, deleting, or reading an
   * object marks it, and `commit()` compares what was marked with what is stored.
   */
  readonly attributes: Attributes;

  /**
   * The same attributes as an object with members of the adapter's own (`save`, `destroy`, `cookie` …): names that
   * `members` has, itself or inherited, are `members`'; all others are attributes. Enumerable own names of `members` are listed
   * before the attributes. Made once per request.
   * @param rules for all sessions of an adapter the same object
   */
  attributesWith<T extends object>(members: T, rules?: MemberRules): T & Attributes;

  /** Whether there is an attribute of that name. Decodes nothing, and marks nothing. */
  has(name: string): boolean;

  /** Whether there are no attributes. Decodes nothing, and marks nothing. */
  readonly isEmpty: boolean;

  /** Whether this request changed something that no commit has taken yet. */
  readonly isModified: boolean;

  /** Whether this request has the session to itself now. */
  readonly isLocked: boolean;

  /**
   * Waits until this request has the session to itself, and brings it up to date: attributes read from now on are the
   * newest. Until the response is committed, or `release()`. Resolves at once where it is so already, or where the
   * session is new. Rejects with MSM_ERR_LOCK_TIMEOUT, MSM_ERR_LOCK_QUEUE_FULL, MSM_ERR_SESSION_GONE, or
   * MSM_ERR_CONFLICT where both this request and another changed an attribute before.
   */
  lock(): Promise<void>;

  /** Lets the next request in before this one is answered. What is changed is not saved by it: see `save()`. */
  release(): Promise<void>;

  /** Stores now what changed so far. Rejects with the MsmError that `commit()` would report. */
  save(): Promise<void>;

  /** Gives up this request's changes and reads the session anew. Rejects with MSM_ERR_SESSION_GONE where there is none. */
  reload(): Promise<void>;

  /**
   * Gives the session a new id, at the next commit: the new one is stored first, then the old one ends. Rejects as a
   * commit would where what is to be kept cannot be: MSM_ERR_CONFLICT, MSM_ERR_CODEC.
   */
  regenerate(options?: RegenerateOptions): Promise<void>;

  /**
   * Ends the session on every node that answers, before it resolves. Rejects where no node answered; the session
   * is then destroyed as soon as one does. The cookie is cleared with the response.
   */
  destroy(): Promise<void>;

  /** Counts as a use: the session's time to live starts anew at commit, though nothing changed. */
  touch(): void;
}
