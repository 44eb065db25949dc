/** Repairs what a crash left between two steps: entries that never reached the queue, leases that ended, entries the queue lost. */
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { Attempt, QueuedEntry, StateStore } from "../core/state-store.ts";

export interface SweepLimits {
  /** An outbox entry this old was not just written. */
  outboxAgeMs: number;
  leaseMs: number;
  /** A record queued this long is looked up in the queue. */
  queuedAgeMs: number;
  /** Finds of each sort in one pass. */
  max: number;
}

/** Platform faults an input survives. */
export const PLATFORM_BUDGET = 3;
/** Several looks within the third of a lease after which a silence counts as an outage of the store (see find.lua). */
export const intervalMs = (leaseMs: number): number => Math.min(1_000, leaseMs / 10);
const LONGEST_INTERVAL_MS = 15_000;

export interface Finds {
  outbox: QueuedEntry[];
  expired: Attempt[];
  /** `held`: the queue still has the entry. */
  queued: { entry: QueuedEntry; held: boolean }[];
}

export type Repair =
  | { step: "enqueue"; entry: QueuedEntry }
  | { step: "expire"; attempt: Attempt }
  | { step: "readd"; entry: QueuedEntry }
  | { step: "seen"; entry: QueuedEntry };

/** What to do about what was found. An entry still in the outbox is enqueued, not also re-added under a next generation. */
export function planRepairs({ outbox, expired, queued }: Finds): Repair[] {
  const inOutbox = new Set(outbox.map(({ id }) => id));
  return [
    ...outbox.map((entry): Repair => ({ step: "enqueue", entry })),
    ...expired.map((attempt): Repair => ({ step: "expire", attempt })),
    ...queued
      .filter(({ entry }) => !inOutbox.has(entry.id))
      .map(({ entry, held }): Repair => ({ step: held ? "seen" : "readd", entry })),
  ];
}

interface SweepDeps {
  state: Pick<StateStore, "invocations" | "recovery">;
  queue: Pick<Queue, "add" | "has">;
  log: Log;
  limits: SweepLimits;
}

/** One pass; answers how many repairs it made. */
export async function sweepOnce({ state, queue, log, limits }: SweepDeps): Promise<number> {
  const found = await state.recovery.find(limits);
  const queued = await Promise.all(
    found.queued.map(async (entry) => ({ entry, held: await queue.has(entry.key, entry) })),
  );
  const repairs = planRepairs({ ...found, queued });
  const enqueue = async (entry: QueuedEntry): Promise<void> => {
    await queue.add(entry.key, entry);
    await state.invocations.enqueued(entry);
  };
  await Promise.all(
    repairs.map(async (repair) => {
      if (repair.step !== "seen") log.info(repair, "repairing");
      if (repair.step === "enqueue") return enqueue(repair.entry);
      if (repair.step === "seen") return state.recovery.seen(repair.entry);
      const next =
        repair.step === "readd"
          ? await state.recovery.readd(repair.entry)
          : await state.recovery.expire(repair.attempt, PLATFORM_BUDGET);
      if (typeof next === "object") await enqueue(next);
    }),
  );
  return repairs.filter(({ step }) => step !== "seen").length;
}

/** After `failures` passes in a row that failed. */
export const pauseMs = (failures: number, leaseMs: number): number =>
  Math.min(intervalMs(leaseMs) * 2 ** failures, LONGEST_INTERVAL_MS);

/** Sweeps until stopped; the returned function resolves when the pass that runs has ended. */
export function keepSweeping(
  deps: SweepDeps & { clock: Clock; onRepairs?: (count: number) => void },
): () => Promise<void> {
  let stopped = false;
  let failures = 0;
  let pass: Promise<void> = Promise.resolve();
  let cancelTimer = () => {};
  const run = async (): Promise<void> => {
    try {
      deps.onRepairs?.(await sweepOnce(deps));
      failures = 0;
    } catch (error) {
      failures++;
      const { code, message } = asFabricError(error);
      deps.log.warn({ code, error: message, failures }, "a sweep failed; it will be tried again");
    }
    schedule();
  };
  const schedule = () => {
    if (stopped) return;
    cancelTimer = deps.clock.after(pauseMs(failures, deps.limits.leaseMs), () => {
      pass = run();
    });
  };
  schedule();
  return async () => {
    stopped = true;
    cancelTimer();
    await pass;
  };
}
