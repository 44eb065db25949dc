/** How often an input's container died with others in it: the runner's suspicion, kept for the latest suspects only. */

export interface SharedDeaths {
  /** Of an invocation. */
  note(id: string): void;
  of(id: string): number;
}

/** One that is forgotten merely gets the benefit of the doubt once more. */
export const MAX_SUSPECTS = 10_000;

export function createSharedDeaths(max = MAX_SUSPECTS): SharedDeaths {
  const deaths = new Map<string, number>();
  return {
    note(id) {
      const count = (deaths.get(id) ?? 0) + 1;
      // Deleted first, so that the map's order is that of the latest death.
      deaths.delete(id);
      deaths.set(id, count);
      if (deaths.size > max) deaths.delete(deaths.keys().next().value!);
    },
    of: (id) => deaths.get(id) ?? 0,
  };
}
