import type { LoadResult, Revision, SaveResult } from "./storage.js";

/*
 * What requests hold on to for a while comes of classes. Where V8 sees objects of a literal live long, as those of the first
 * requests of a process do, it puts all later ones of it into the old generation at once; and with each its whole request,
 * which is garbage a moment later. That cost up to a tenth of a request.
 */

/** A revision that is nothing but a version. */
export class RecordVersion implements Revision {
  readonly version: string;

  constructor(version: string) {
    this.version = version;
  }
}

/** That a record is there. */
export class FoundAnswer {
  readonly kind = "found" satisfies LoadResult["kind"];
  readonly record: Uint8Array;
  readonly revision: Revision;
  declare readonly isWanted?: true;

  constructor(record: Uint8Array, revision: Revision, isWanted: boolean) {
    this.record = record;
    this.revision = revision;
    if (isWanted) this.isWanted = true;
  }
}

/** That a record is in its place. */
export class StoredAnswer {
  readonly kind = "stored" satisfies SaveResult["kind"];
  readonly revision: Revision;

  constructor(revision: Revision) {
    this.revision = revision;
  }
}
