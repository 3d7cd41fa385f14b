/** Every kind of trouble that msm reports. `docs/errors.md` has a heading for each. */
export type MsmErrorCode =
  | "MSM_ERR_OPTION"
  | "MSM_ERR_STORAGE_UNAVAILABLE"
  | "MSM_ERR_STORAGE_TIMEOUT"
  | "MSM_ERR_STORAGE_PROTOCOL"
  | "MSM_ERR_STORAGE_REFUSED"
  | "MSM_ERR_RECORD_TOO_LARGE"
  | "MSM_ERR_RECORD_SPOILT"
  | "MSM_ERR_CODEC"
  | "MSM_ERR_ATTRIBUTE_NAME"
  | "MSM_ERR_CONFLICT"
  | "MSM_ERR_LOCK_TIMEOUT"
  | "MSM_ERR_LOCK_QUEUE_FULL"
  | "MSM_ERR_ABORTED"
  | "MSM_ERR_SESSION_GONE"
  | "MSM_ERR_SESSION_DESTROYED"
  | "MSM_ERR_HEADERS_SENT"
  | "MSM_ERR_CLOSED";

const httpStatus: Record<MsmErrorCode, number> = {
  MSM_ERR_OPTION: 500,
  MSM_ERR_STORAGE_UNAVAILABLE: 503,
  MSM_ERR_STORAGE_TIMEOUT: 503,
  MSM_ERR_STORAGE_PROTOCOL: 503,
  MSM_ERR_STORAGE_REFUSED: 503,
  MSM_ERR_RECORD_TOO_LARGE: 500,
  MSM_ERR_RECORD_SPOILT: 503,
  MSM_ERR_CODEC: 500,
  MSM_ERR_ATTRIBUTE_NAME: 500,
  MSM_ERR_CONFLICT: 409,
  MSM_ERR_LOCK_TIMEOUT: 503,
  MSM_ERR_LOCK_QUEUE_FULL: 503,
  MSM_ERR_ABORTED: 503,
  MSM_ERR_SESSION_GONE: 503,
  MSM_ERR_SESSION_DESTROYED: 500,
  MSM_ERR_HEADERS_SENT: 500,
  MSM_ERR_CLOSED: 503,
};

/** What a client is told of when to come back: whoever holds the session will have answered by then. */
const retryAfterSeconds: Partial<Record<MsmErrorCode, number>> = {
  MSM_ERR_LOCK_TIMEOUT: 1,
  MSM_ERR_LOCK_QUEUE_FULL: 1,
};

/** What belongs to an error besides its code and message. */
export interface MsmErrorOptions {
  readonly cause?: unknown;
  /** See `MsmError.isOfOnePart`. */
  readonly isOfOnePart?: boolean;
}

const brand = Symbol.for("msm.error");

/**
 * The one error class of msm. Test `error.code`; `instanceof` holds across copies of the package as well.
 * The message begins with the code, because logs often show nothing else.
 */
export class MsmError extends Error {
  readonly code: MsmErrorCode;
  /** The HTTP status that fits where a request fails of this. Express, Koa and Fastify read it. */
  readonly status: number;
  readonly statusCode: number;
  /** Headers that the answer to such a request should have. Express and Koa set them by themselves. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Storage trouble with a part of a node only, such as one shard of a Redis Cluster: what lies elsewhere is well. */
  readonly isOfOnePart?: true;

  constructor(code: MsmErrorCode, message: string, options: MsmErrorOptions = {}) {
    super(`${code}: ${message}`, options);
    this.name = "MsmError";
    this.code = code;
    this.status = httpStatus[code];
    this.statusCode = this.status;
    const seconds = retryAfterSeconds[code];
    if (seconds !== undefined) this.headers = { "Retry-After": String(seconds) };
    if (options.isOfOnePart === true) this.isOfOnePart = true;
    Object.defineProperty(this, brand, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }

  /** Gives any thrown value as an MsmError: itself where it is one, else wrapped under `code` with the original as `cause`. */
  static from(thrown: unknown, code: MsmErrorCode): MsmError {
    if (thrown instanceof MsmError) return thrown;
    return new MsmError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  }
}
