/** Does the work for each value, at most so many at a time. @returns what it gave, in the values' order */
export async function eachLimited<T, R>(
  values: readonly T[],
  atOnce: number,
  work: (value: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const workers = Array.from({ length: Math.min(atOnce, values.length) }, async () => {
    while (next < values.length) {
      const at = next++;
      results[at] = await work(values[at]!);
    }
  });
  await Promise.all(workers);
  return results;
}
