/** Makes an invocation of every tick of a schedule, exactly one, with any number of gateways looking and any of them dying. */

import { NO_ARGUMENTS } from "../core/decode-call.ts";
import { asFabricError, type ErrorCode } from "../core/errors.ts";
import { type FunctionKey, splitFunctionKey } from "../core/invocation.ts";
import { invoke } from "../core/invoke.ts";
import { planTick } from "../core/schedule.ts";
import type { ScheduleState, Tick } from "../core/schedule-store.ts";
import type { GatewayDeps } from "./deps.ts";
import { saveMemory } from "./saved-schedule.ts";
import { syncAllSchedules } from "./sync-schedules.ts";

/** Older than a gateway takes to finish what it began. */
const LEFT_MS = 3_000;
const MOST = 200;
const SYNC_EVERY_MS = 15_000;
const LOOK_EVERY_MS = 1_000;

type Deps = Pick<GatewayDeps, "state" | "outbox" | "objects" | "outcomes" | "log" | "registry" | "catalog" | "clock">;

export interface Pass {
  /** Milliseconds until the next tick, if one is known. */
  dueInMs?: number;
  /** Schedules that changed since they were saved. */
  unsaved: ScheduleState[];
}

/** One pass over what is due. Asks Redis only, since a bucket that hangs must not hold up ticks. */
export async function makeTicks(deps: Deps): Promise<Pass> {
  const { schedules } = deps.state;
  const { now, due, taken, unsaved, nextDue } = await schedules.find({ ageMs: LEFT_MS, max: MOST });
  const made = await Promise.all([
    ...due.map((state) => takeTick(deps, state, now)),
    ...taken.map((tick) => makeTick(deps, tick)),
  ]);
  const changed = await Promise.all(made.flatMap((key) => (key ? [schedules.get(key)] : [])));
  return {
    dueInMs: due.length > 0 ? 0 : nextDue && nextDue - now,
    unsaved: [...unsaved, ...changed.filter((state) => state !== undefined)],
  };
}

/** What the bucket knows of schedules follows Redis, and Redis' schedules follow the bucket's versions. */
export async function keepUp(deps: Deps, unsaved: ScheduleState[]): Promise<void> {
  if (await deps.state.schedules.mayLook(SYNC_EVERY_MS)) await syncAllSchedules(deps);
  for (const state of unsaved) await saveMemory(deps, state);
}

async function takeTick(deps: Deps, { key, schedule, anchor, nextTick }: ScheduleState, now: number): Promise<Made> {
  if (nextTick === undefined || nextTick > now) return undefined; // Another gateway was faster.
  const plan = planTick(schedule, anchor, nextTick, now);
  if (!(await deps.state.schedules.take(key, nextTick, plan))) return undefined;
  if (plan.make !== undefined) return makeTick(deps, { key, tick: plan.make });
  deps.log.info({ schedule: key, due: nextTick }, "missed ticks are skipped");
  return undefined;
}

/** No such version or function any more, or a caller who took the tick's key: there is nothing to repeat. */
const FINAL: readonly ErrorCode[] = [
  "app_not_found",
  "version_not_found",
  "function_not_found",
  "idempotency_mismatch",
];

/** The schedule that has changed, if one has. */
type Made = FunctionKey | undefined;

/** Harmless to repeat: the tick is the call's idempotency key. What fails is found again among the taken ones. */
async function makeTick(deps: Deps, { key, tick }: Tick): Promise<Made> {
  const { schedules } = deps.state;
  const state = await schedules.get(key);
  try {
    await schedules.made({ key, tick }, state && (await invokeScheduled(deps, state, tick)));
    return key;
  } catch (error) {
    const { code, message } = asFabricError(error);
    deps.log.warn({ schedule: key, tick, code, error: message }, "a tick was not made");
    if (FINAL.includes(code)) await schedules.made({ key, tick }, undefined);
    return undefined;
  }
}

/** Answers the invocation's id. Without a tick: a run in between. */
export async function invokeScheduled(deps: Deps, { key, version }: ScheduleState, tick?: number): Promise<string> {
  const { app, fn } = splitFunctionKey(key);
  const target = await deps.catalog.target(app, fn, version);
  const call = { encoding: "json", input: NO_ARGUMENTS, acceptPickle: false } as const;
  const idempotency_key = tick === undefined ? undefined : `schedule:${key}:${tick}`;
  return (await invoke(deps, target, call, { wait: false, idempotency_key, trigger: "schedule", tick })).id;
}

/** Looks once a second and at every tick, until stopped; the returned function resolves when what runs has ended. */
export function keepMakingTicks(deps: Deps): () => Promise<void> {
  let stopped = false;
  let pass: Promise<void> = Promise.resolve();
  let upkeep: Promise<void> | undefined;
  let cancelTimer = () => {};
  const failed = (error: unknown): undefined => {
    const { code, message } = asFabricError(error);
    deps.log.warn({ code, error: message }, "a look at the schedules failed; it will be repeated");
  };
  const run = async (): Promise<void> => {
    const done = await makeTicks(deps).catch(failed);
    upkeep ??= keepUp(deps, done?.unsaved ?? [])
      .catch(failed)
      .finally(() => {
        upkeep = undefined;
      });
    if (!stopped) wait(Math.min(done?.dueInMs ?? LOOK_EVERY_MS, LOOK_EVERY_MS));
  };
  const wait = (ms: number): void => {
    cancelTimer = deps.clock.after(ms, () => {
      pass = run();
    });
  };
  wait(0);
  return async () => {
    stopped = true;
    cancelTimer();
    await pass;
    await upkeep;
  };
}
