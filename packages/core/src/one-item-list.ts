const empty: readonly never[] = [];

/**
 * A list of one, which may grow. As a literal, V8 would learn how long such lists live, and might put all of them into its old
 * generation at once, see storage/answers.ts; and the first push onto an empty one would make room for many.
 * @param item no list itself
 */
export const oneItemList = <T extends object | string | number>(item: T): T[] =>
  (empty as readonly T[]).concat(item);
