/** mulberry32 (public domain, T. Ettinger). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

let next = numbers(1);

/** Begins anew: the same ids, tokens and pauses in each story, so that a story can be told again. */
export function repeatChance(): void {
  next = numbers(1);
}

/** In place of `Math.random`. */
export const repeatableNumber = (): number => next();

/** In place of `randomBytes` of node:crypto. */
export function repeatableBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < size; i++) bytes[i] = Math.floor(next() * 256);
  return bytes;
}
