import { MsmError } from "../errors.js";

const keyPattern = /^[A-Za-z0-9_\-:{}]{1,78}$/;

/** Where what belongs to a session lies: beside each other. */
export interface StorageKeys {
  readonly record: string;
  readonly lease: string;
  /** Where a storage cannot mark the lease itself: the mark that somebody was refused it. */
  readonly wanted: string;
}

/**
 * Refuses keys that no storage takes.
 * @throws MsmError MSM_ERR_STORAGE_REFUSED on a key that no storage takes; over 250 bytes, memcached would close the
 * connection that all requests share
 */
export function checkKey(key: string): void {
  if (!keyPattern.test(key)) {
    throw new MsmError("MSM_ERR_STORAGE_REFUSED", "a key is 1 to 78 characters of A-Z a-z 0-9 _ - : { }");
  }
}

/**
 * The keys on the server for the base key that a storage is given.
 * @throws MsmError MSM_ERR_STORAGE_REFUSED as `checkKey()`
 */
export function storageKeys(key: string): StorageKeys {
  checkKey(key);
  return { record: recordKey(key), lease: leaseKey(key), wanted: `${key}:w` };
}

/** The key of the record on the server. It takes any key, as `leaseKey()` does. */
export const recordKey = (key: string): string => `${key}:s`;

/** The key of the lease on the server. Unlike `storageKeys()` it takes any key, for where nothing is sent. */
export const leaseKey = (key: string): string => `${key}:l`;
