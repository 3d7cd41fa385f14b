/** The version of a record that says "destroyed"; docs of the format: packages/core/src/storage/record-prefix.ts. */
export const tombstoneVersion = "ffffffffffffffff";

/** The version of a record: the 16 hexadecimal digits behind the format's mark. */
export const versionOf = (record: Buffer): string => record.toString("latin1", 2, 18);
