/** @param {ArrayLike<number>} numbers */
export function median(numbers) {
  return quantile(numbers, 0.5);
}

/**
 * @param {ArrayLike<number>} numbers
 * @param {number} part from 0 to 1
 */
export function quantile(numbers, part) {
  const sorted = Float64Array.from(numbers).sort();
  const position = (sorted.length - 1) * part;
  const [below, above] = [sorted[Math.floor(position)] ?? 0, sorted[Math.ceil(position)] ?? 0];
  return below + (above - below) * (position - Math.floor(position));
}

/**
 * Half of how far the middle half of the numbers is apart, as a part of their median.
 * @param {ArrayLike<number>} numbers
 */
export function spread(numbers) {
  return (quantile(numbers, 0.75) - quantile(numbers, 0.25)) / 2 / median(numbers);
}
