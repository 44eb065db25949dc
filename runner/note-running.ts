/** Writes where attempts run into their records, for those that run long enough for somebody to look. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { InvocationStore } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Leases } from "./leases.ts";

const LOOK_MS = 250;

/** Short attempts tell with their outcome, so that the hot path has no step for it. */
export function noteRunning(options: { invocations: InvocationStore; leases: Leases; clock: Clock; log: Log }) {
  const { invocations, leases, clock, log } = options;
  const noted = new WeakSet<LiveAttempt>();
  let cancel = (): void => {};

  function look(): void {
    const before = clock.monotonic() - LOOK_MS;
    for (const attempt of leases.all()) {
      const started = attempt.startedAt();
      if (started === undefined || started > before || noted.has(attempt) || attempt.state() !== "running") continue;
      noted.add(attempt);
      invocations
        .note(attempt, attempt.facts())
        .catch((err: unknown) => log.debug({ err, id: attempt.id }, "a note was not taken"));
    }
    cancel = clock.after(LOOK_MS, look);
  }

  return { start: look, stop: () => cancel() };
}
