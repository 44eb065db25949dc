/** One at a time per name, in the order of asking. */

export interface Locks {
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export function locks(): Locks {
  const last = new Map<string, Promise<unknown>>();
  return {
    async run(name, work) {
      const before = last.get(name) ?? Promise.resolve();
      const mine = before.then(work);
      const settled = mine.then(
        () => undefined,
        () => undefined,
      );
      last.set(name, settled);
      try {
        return await mine;
      } finally {
        if (last.get(name) === settled) last.delete(name);
      }
    },
  };
}
