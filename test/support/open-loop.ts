/** Sends at a steady rate, whatever was answered so far, and repeats what is not accepted. */
import { setMaxListeners } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

export interface OpenLoop<T> {
  /** What came of what was sent, so far. */
  done: T[];
  /** Sends nothing new, and resolves when something came of all that was sent. */
  stop(deadlineMs?: number): Promise<T[]>;
  /** Sends nothing any more, whatever is not answered. */
  abandon(): void;
}

/** Unanswered at a time: what cannot be answered for long must not grow into a load that can never be answered. */
const AT_ONCE = 300;
const AGAIN_MS = 200;
const LONGEST_AGAIN_MS = 3_000;

/** The next one does not wait for the answer to the last, unless very many are unanswered. */
export function openLoop<T>(
  perSecond: number,
  send: (n: number, over: AbortSignal) => Promise<T | undefined>,
): OpenLoop<T> {
  const done: T[] = [];
  const asking = new Set<Promise<void>>();
  const failed: unknown[] = [];
  const startedAt = performance.now();
  const over = new AbortController();
  setMaxListeners(0, over.signal); // all that waits to be repeated
  let sent = 0;
  const next = (): void => {
    const asked = send(sent++, over.signal)
      .then((one) => void (one !== undefined && done.push(one)))
      .catch((thrown: unknown) => void failed.push(thrown))
      .then(() => void asking.delete(asked));
    asking.add(asked);
  };
  let due = 0;
  const timer = setInterval(() => {
    for (; due < ((performance.now() - startedAt) / 1000) * perSecond; due++) if (asking.size < AT_ONCE) next();
  }, 5);
  return {
    done,
    abandon() {
      clearInterval(timer);
      over.abort(new Error("abandoned"));
    },
    async stop(deadlineMs = 30_000) {
      clearInterval(timer);
      const late = setTimeout(() => over.abort(new Error(`not accepted within ${deadlineMs} ms`)), deadlineMs);
      await Promise.all(asking);
      clearTimeout(late);
      if (failed.length > 0) throw failed[0];
      return done;
    },
  };
}

/** `act` until it answers. */
export async function repeated<T>(act: () => Promise<T | undefined>, over: AbortSignal): Promise<T> {
  for (let waitMs = AGAIN_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_AGAIN_MS)) {
    const answer = await act();
    if (answer !== undefined) return answer;
    await pause(waitMs, undefined, { signal: over });
  }
}
