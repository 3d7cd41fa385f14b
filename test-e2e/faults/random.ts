/** Numbers that look like chance and are the same for the same seed. */
export interface Random {
  /** From 0 to below 1. */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  /** One of them. @throws Error where there is none */
  pick<T>(all: readonly T[]): T;
  /** Another sequence, which follows from this one's seed and the name alone. */
  fork(name: string): Random;
}

/** Makes a sequence from a seed, e.g. "7" or "7 F3 redis/sticky". */
export function seededRandom(seed: string): Random {
  let state = hash(seed);
  // mulberry32, https://github.com/bryc/code/blob/master/jshash/PRNGs.md
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    pick(all) {
      const chosen = all[Math.floor(next() * all.length)];
      if (chosen === undefined) throw new Error("there is nothing to pick from");
      return chosen;
    },
    fork: (name) => seededRandom(`${seed} ${name}`),
  };
}

/** FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value;
}
