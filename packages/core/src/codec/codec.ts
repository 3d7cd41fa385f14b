/**
 * Turns attribute values into bytes and back. Its name is stored with each session, so that a fleet can change
 * codecs while it runs.
 */
export interface Codec {
  /** Up to 8 characters of `a-z 0-9`. */
  readonly name: string;
  /**
   * @returns the value's bytes, the same for the same value; undefined where the value has none, as a function
   * @throws MsmError MSM_ERR_CODEC where the value cannot be encoded
   */
  encode(value: unknown): Uint8Array | undefined;
  /**
   * @returns the value; never runs code that the bytes name
   * @throws MsmError MSM_ERR_CODEC on bytes that this codec did not write
   */
  decode(bytes: Uint8Array): unknown;
}
