/** Entries in the byte order of their keys' UTF-8, in short runs, so that one more costs little among millions. */

export interface SortedKeys<Entry extends { key: string }> {
  readonly size: number;
  get(key: string): Entry | undefined;
  set(entry: Entry): void;
  delete(key: string): void;
  /** The first entry for which `before` is false; it must be true up to some key and false from there on. */
  seek(before: (key: string) => boolean): Cursor<Entry>;
}

export interface Cursor<Entry> {
  entry: Entry | undefined;
  next(): void;
}

const RUN = 512;

/** JavaScript compares UTF-16 units; these differ from UTF-8's order only where surrogates meet U+E000 to U+FFFF. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) return rank(x) - rank(y);
    return x - y;
  }
  return a.length - b.length;
}

const rank = (unit: number): number => (unit <= 0xdfff ? unit + 0x10000 : unit);

export function sortedKeys<Entry extends { key: string }>(initial: Entry[] = []): SortedKeys<Entry> {
  const all = [...initial].sort((a, b) => compareKeys(a.key, b.key));
  const runs: Entry[][] = [];
  for (let i = 0; i < all.length; i += RUN) runs.push(all.slice(i, i + RUN));
  let size = all.length;

  function place(before: (key: string) => boolean): { run: number; at: number } {
    const run = lowest(runs.length, (i) => before(runs[i]!.at(-1)!.key));
    return { run, at: run < runs.length ? lowest(runs[run]!.length, (i) => before(runs[run]![i]!.key)) : 0 };
  }
  const placeOf = (key: string) => place((other) => compareKeys(other, key) < 0);

  return {
    get size() {
      return size;
    },
    get(key) {
      const { run, at } = placeOf(key);
      const entry = runs[run]?.[at];
      return entry?.key === key ? entry : undefined;
    },
    set(entry) {
      const { run, at } = placeOf(entry.key);
      if (runs[run]?.[at]?.key === entry.key) {
        runs[run][at] = entry;
        return;
      }
      size++;
      if (runs.length === 0) runs.push([]);
      const into = Math.min(run, runs.length - 1);
      const target = runs[into]!;
      target.splice(run === into ? at : target.length, 0, entry);
      if (target.length > 2 * RUN) runs.splice(into + 1, 0, target.splice(RUN));
    },
    delete(key) {
      const { run, at } = placeOf(key);
      if (runs[run]?.[at]?.key !== key) return;
      size--;
      runs[run].splice(at, 1);
      if (runs[run].length === 0) runs.splice(run, 1);
    },
    seek(before) {
      let { run, at } = place(before);
      return {
        get entry() {
          return runs[run]?.[at];
        },
        next() {
          at++;
          if (at >= (runs[run]?.length ?? 0)) {
            run++;
            at = 0;
          }
        },
      };
    },
  };
}

/** The first index for which `before` is false. */
function lowest(length: number, before: (i: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (before(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
