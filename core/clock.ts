/** Time as an argument: what waits or measures is given a Clock, so tests can move it. */
export interface Clock {
  /** Milliseconds since 1970, for records people read. Never used to decide who owns an attempt: Redis' TIME does. */
  now(): number;
  /** Milliseconds that never jump, for durations and this process's own deadlines. */
  monotonic(): number;
  /** Calls back once after `ms`; the returned function forgets it. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** A clock that stands still until told: `advance` runs what falls due, in order. */
export function manualClock(startMs = 0): Clock & { advance(ms: number): void } {
  let now = startMs;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    now: () => now,
    monotonic: () => now,
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const until = now + ms;
      for (;;) {
        const due = timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        timers = timers.filter((other) => other !== due);
        now = due.at;
        due.callback();
      }
      now = until;
    },
  };
}
