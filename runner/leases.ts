/** Keeps the leases of all attempts of this runner, and ends its containers when it can keep them no longer. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Attempt, InvocationStore } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import { mustFence } from "./self-fence.ts";

export interface Leases {
  add(attempt: LiveAttempt): void;
  remove(attempt: LiveAttempt): void;
  /** Somebody wants it cancelled. */
  cancel(attempt: Attempt): void;
  find(attempt: Attempt): LiveAttempt | undefined;
  all(): Iterable<LiveAttempt>;
  size(): number;
  /** Renews at once: what a restarted runner took over may be about to end. */
  renewNow(): Promise<void>;
  /** Code of a Redis connection error, for telling a dead Redis from a cut network. */
  sawError(code: string | undefined): void;
  close(): void;
}

export interface LeasesOptions {
  invocations: InvocationStore;
  runner: string;
  leaseMs: number;
  clock: Clock;
  log: Log;
  /** After a renewal that was answered. */
  onRenewed(): void;
  /** The leases have ended while others may reach Redis: nothing of ours may go on. */
  onFence(): void;
}

const keyOf = ({ id, generation }: Attempt): string => `${id} ${generation}`;

export function createLeases(options: LeasesOptions): Leases {
  const { invocations, runner, leaseMs, clock, log } = options;
  const held = new Map<string, LiveAttempt>();
  let renewedAt = clock.monotonic();
  let lastError: string | undefined;
  let closed = false;
  let stopTimer = (): void => {};

  async function renew(): Promise<void> {
    const asked = clock.monotonic();
    const attempts = [...held.values()];
    const pairs = attempts.map(({ id, generation }) => ({ id, generation }));
    const { lost, cancel } = await invocations.renew(runner, pairs, leaseMs);
    renewedAt = asked;
    lastError = undefined;
    for (const attempt of lost) held.get(keyOf(attempt))?.lose();
    for (const attempt of cancel) held.get(keyOf(attempt))?.cancel("cancelled");
    options.onRenewed();
  }

  function check(): void {
    if (held.size === 0) renewedAt = clock.monotonic();
    else if (mustFence({ renewedAt, lastError }, leaseMs, clock.monotonic())) {
      log.error({ attempts: held.size }, "cut off from Redis for a whole lease: ending this node's containers");
      for (const attempt of held.values()) attempt.lose();
      options.onFence();
      renewedAt = clock.monotonic();
    }
  }

  function schedule(): void {
    stopTimer = clock.after(leaseMs / 3, () => {
      if (held.size > 0) renew().catch((err: unknown) => log.warn({ err }, "leases could not be renewed"));
      else options.onRenewed();
      check();
      if (!closed) schedule();
    });
  }
  schedule();

  return {
    add(attempt) {
      if (held.size === 0) renewedAt = clock.monotonic();
      held.set(keyOf(attempt), attempt);
    },
    remove: (attempt) => void held.delete(keyOf(attempt)),
    cancel: (attempt) => held.get(keyOf(attempt))?.cancel("cancelled"),
    find: (attempt) => held.get(keyOf(attempt)),
    all: () => held.values(),
    size: () => held.size,
    renewNow: renew,
    sawError: (code) => {
      lastError = code ?? lastError;
    },
    close() {
      closed = true;
      stopTimer();
    },
  };
}
