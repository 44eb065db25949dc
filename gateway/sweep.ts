/** Repairs what a crash left between two steps: entries that never reached the queue, leases that ended, entries the queue lost, maps left by their callers. */
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import { invocationOf } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import { gapLine } from "../core/log-gap.ts";
import type { Queue } from "../core/queue.ts";
import { PLATFORM_BUDGET } from "../core/retry.ts";
import type { Attempt, QueuedEntry, StateStore } from "../core/state-store.ts";

export interface SweepLimits {
  /** An outbox entry this old was not just written. */
  outboxAgeMs: number;
  leaseMs: number;
  /** A record queued this long is looked up in the queue. */
  queuedAgeMs: number;
  /** Nobody appends to such a map any more: it has all its inputs. */
  mapIdleMs: number;
  /** Finds of each sort in one pass. */
  max: number;
}

/** Several looks within the third of a lease after which a silence counts as an outage of the store (see find.lua). */
export const intervalMs = (leaseMs: number): number => Math.min(1_000, leaseMs / 10);
const LONGEST_INTERVAL_MS = 15_000;

export interface Finds {
  outbox: QueuedEntry[];
  expired: Attempt[];
  /** `held`: the queue still has the entry. */
  queued: { entry: QueuedEntry; held: boolean }[];
  idleMaps: string[];
}

export type Repair =
  | { step: "enqueue"; entry: QueuedEntry }
  | { step: "expire"; attempt: Attempt }
  | { step: "readd"; entry: QueuedEntry }
  | { step: "seen"; entry: QueuedEntry }
  | { step: "seal"; map: string };

/** What to do about what was found. An entry still in the outbox is enqueued, not also re-added under a next generation. */
export function planRepairs({ outbox, expired, queued, idleMaps }: Finds): Repair[] {
  const inOutbox = new Set(outbox.map(({ id }) => id));
  return [
    ...outbox.map((entry): Repair => ({ step: "enqueue", entry })),
    ...expired.map((attempt): Repair => ({ step: "expire", attempt })),
    ...queued
      .filter(({ entry }) => !inOutbox.has(entry.id))
      .map(({ entry, held }): Repair => ({ step: held ? "seen" : "readd", entry })),
    ...idleMaps.map((map): Repair => ({ step: "seal", map })),
  ];
}

interface SweepDeps {
  state: Pick<StateStore, "invocations" | "maps" | "recovery" | "logs">;
  queue: Pick<Queue, "add" | "has">;
  clock: Clock;
  log: Log;
  limits: SweepLimits;
}

/**
 * One pass; answers how many repairs it made. Each look and repair is tried whatever becomes of the others: a function whose
 * queue is in trouble must not hold up the rest. What failed is found again by the next pass.
 */
export async function sweepOnce({ state, queue, clock, log, limits }: SweepDeps): Promise<number> {
  const found = await state.recovery.find(limits);
  const looks = await Promise.allSettled(
    found.queued.map(async (entry) => ({ entry, held: await queue.has(entry.key, entry) })),
  );
  const repairs = planRepairs({ ...found, queued: fulfilled(looks) });
  const enqueue = async (entry: QueuedEntry): Promise<void> => {
    await queue.add(entry.key, entry);
    await state.invocations.enqueued(entry);
  };
  const outcomes = await Promise.allSettled(
    repairs.map(async (repair) => {
      if (repair.step !== "seen") log.info(repair, "repairing");
      if (repair.step === "seal") return state.maps.sealIdle(repair.map, limits.mapIdleMs);
      if (repair.step === "enqueue") return enqueue(repair.entry);
      if (repair.step === "seen") return state.recovery.seen(repair.entry);
      const next =
        repair.step === "readd"
          ? await state.recovery.readd(repair.entry)
          : await state.recovery.expire(repair.attempt, PLATFORM_BUDGET);
      if (typeof next === "object") await enqueue(next);
      if (repair.step === "expire" && next !== "stale") await tellLost(state, repair.attempt, clock.now());
    }),
  );
  const failed = [...looks, ...outcomes].find((one) => one.status === "rejected");
  if (failed) throw failed.reason;
  return repairs.filter(({ step }) => step !== "seen").length;
}

const fulfilled = <T>(all: PromiseSettledResult<T>[]): T[] =>
  all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));

/** What the lost runner had not shipped yet is gone with it. */
async function tellLost({ invocations, logs }: SweepDeps["state"], { id }: Attempt, at: number): Promise<void> {
  const record = await invocations.get(id);
  if (!record) return;
  const container = record.history?.at(-1)?.container ?? record.container ?? "";
  const of = { fn: record.fn, container, invocation: invocationOf(id) };
  await logs.append(record.app, [gapLine(at, of, {}, "the node that ran it was lost, with what was printed last")]);
}

/** After `failures` passes in a row that failed. */
export const pauseMs = (failures: number, leaseMs: number): number =>
  Math.min(intervalMs(leaseMs) * 2 ** failures, LONGEST_INTERVAL_MS);

/** Sweeps until stopped; the returned function resolves when the pass that runs has ended. */
export function keepSweeping(deps: SweepDeps & { onRepairs?: (count: number) => void }): () => Promise<void> {
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
