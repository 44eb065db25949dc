/** Puts what is due into its queue, and ends what waited there too long: a timer for the next moment, a hint when an earlier one comes, and a look now and then. */
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { QueuedEntry, StateStore } from "../core/state-store.ts";

/** Makes up for hints that were lost. */
const LONGEST_PAUSE_MS = 1_000;
const LONGEST_FAILURE_MS = 15_000;
const AT_ONCE = 500;

interface ReleaseDeps {
  state: Pick<StateStore, "invocations" | "recovery">;
  queue: Pick<Queue, "add">;
}

/** One look; answers in how many ms the next one is worth while, if anything waits. */
export async function releaseOnce({ state, queue }: ReleaseDeps): Promise<number | undefined> {
  const { due, expired, nextInMs } = await state.recovery.release(AT_ONCE);
  const enqueue = async (entry: QueuedEntry): Promise<void> => {
    await queue.add(entry.key, entry);
    await state.invocations.enqueued(entry);
  };
  // Each for itself: what fails stays in the outbox and is left to the sweep.
  await Promise.all([...due.map(enqueue), ...expired.map((id) => state.recovery.endExpired(id))]);
  return nextInMs;
}

/** After a look that found the next moment, or after `failures` in a row. */
export const pauseMs = (nextInMs: number | undefined, failures: number): number =>
  failures > 0
    ? Math.min(LONGEST_PAUSE_MS * 2 ** failures, LONGEST_FAILURE_MS)
    : Math.min(nextInMs ?? LONGEST_PAUSE_MS, LONGEST_PAUSE_MS);

/** Releases until stopped; the returned function resolves when the look that runs has ended. */
export async function keepReleasing(
  deps: ReleaseDeps & { state: Pick<StateStore, "hints">; clock: Clock; log: Log },
): Promise<() => Promise<void>> {
  const { state, clock, log } = deps;
  let stopped = false;
  let failures = 0;
  let hinted = false;
  let looking: Promise<void> | undefined;
  let cancelTimer = () => {};

  async function look(): Promise<void> {
    hinted = false;
    let nextInMs: number | undefined;
    try {
      nextInMs = await releaseOnce(deps);
      failures = 0;
    } catch (error) {
      failures++;
      const { code, message } = asFabricError(error);
      log.warn({ code, error: message, failures }, "what is due could not be released; it will be tried again");
    }
    looking = undefined;
    schedule(hinted ? 0 : pauseMs(nextInMs, failures));
  }

  function schedule(ms: number): void {
    cancelTimer();
    if (stopped) return;
    cancelTimer = clock.after(ms, () => {
      looking ??= look();
    });
  }

  const stopListening = await state.hints.onDue(() => {
    hinted = true;
    if (!looking) schedule(0);
  });
  schedule(0);
  return async () => {
    stopped = true;
    stopListening();
    cancelTimer();
    await looking;
  };
}
