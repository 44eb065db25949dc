/** Tells once a second what this runner's functions do: batched, and never on the way of a call. */
import type { Clock } from "../core/clock.ts";
import type { FunctionLoad, LoadStore, LoadsOfRunner } from "../core/load.ts";
import type { Log } from "../core/log.ts";
import type { Container } from "./container-contract.ts";
import type { Intake } from "./intake.ts";

const EVERY_MS = 1_000;
const TTL_MS = 10_000;

const isBooting = (one: Container): boolean => one.phase() === "booked" || one.phase() === "starting";
const slotsOf = (all: readonly Container[]): number => all.reduce((sum, { slots }) => sum + slots, 0);

export function loadOf(intake: Pick<Intake, "pools" | "meter" | "missing">, now: number): FunctionLoad {
  const pools = intake.pools();
  const containers = pools.flatMap((pool) => pool.containers()).filter((one) => one.phase() !== "ended");
  const booting = containers.filter(isBooting);
  const ready = containers.filter((one) => one.phase() === "ready");
  return {
    ...intake.meter.read(now),
    slots: slotsOf(ready),
    busy: containers.reduce((sum, one) => sum + one.busy(), 0),
    containers: containers.length,
    booting: booting.length,
    bootingSlots: slotsOf(booting),
    waiting: pools.reduce((sum, pool) => sum + pool.waiting().length, 0),
    missing: intake.missing(),
  };
}

export function tellLoads(options: {
  loads: Pick<LoadStore, "publish">;
  intakes: ReadonlyMap<string, Intake>;
  runner: string;
  clock: Clock;
  log: Log;
}) {
  const { loads, intakes, runner, clock, log } = options;
  let cancel = (): void => {};
  let stopped = false;
  let told = true;

  async function tell(): Promise<void> {
    const now = clock.monotonic();
    const all: LoadsOfRunner = {};
    for (const intake of intakes.values()) all[intake.key] = loadOf(intake, now);
    const isEmpty = intakes.size === 0;
    if (isEmpty && !told) return;
    told = !isEmpty;
    await loads.publish(runner, all, TTL_MS);
  }

  function schedule(): void {
    if (stopped) return;
    cancel = clock.after(EVERY_MS, () => {
      tell()
        .catch((err: unknown) => log.debug({ err }, "the loads of this node were not told"))
        .finally(schedule);
    });
  }

  return {
    start: schedule,
    stop() {
      stopped = true;
      cancel();
    },
  };
}
