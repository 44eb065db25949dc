/** Keeps the leases of all attempts of this runner, and ends its containers when it can keep them no longer. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Attempt, InvocationStore } from "../core/state-store.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { Reach } from "./reach.ts";
import { leasesEnded, mustFence } from "./self-fence.ts";

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
  close(): void;
}

export interface LeasesOptions {
  invocations: InvocationStore;
  runner: string;
  leaseMs: number;
  clock: Clock;
  log: Log;
  /** Tells a Redis that serves nobody from a cut network. */
  probe(): Promise<Reach>;
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
  let closed = false;
  let stopTimer = (): void => {};

  async function renew(): Promise<void> {
    const asked = clock.monotonic();
    const attempts = [...held.values()];
    const pairs = attempts.map(({ id, generation }) => ({ id, generation }));
    const { lost, cancel } = await invocations.renew(runner, pairs, leaseMs);
    renewedAt = asked;
    for (const attempt of lost) held.get(keyOf(attempt))?.lose();
    for (const attempt of cancel) held.get(keyOf(attempt))?.cancel("cancelled");
    options.onRenewed();
  }

  async function check(): Promise<void> {
    if (held.size === 0) renewedAt = clock.monotonic();
    else if (leasesEnded(renewedAt, leaseMs, clock.monotonic()) && mustFence(await options.probe())) {
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
      check().catch((err: unknown) => log.error({ err }, "the leases could not be judged"));
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
    close() {
      closed = true;
      stopTimer();
    },
  };
}
