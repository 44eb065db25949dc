/** What a runner tells once a second about each function it serves: for people who wait, and for `fabric top`. */
import type { FunctionKey } from "./invocation.ts";

/** Moving averages in ms; absent before the first. */
export interface FunctionPace {
  runMs?: number;
  /** From the start of a container until it takes inputs. */
  bootMs?: number;
}

export interface FunctionLoad extends FunctionPace {
  /** Of containers that are ready. */
  slots: number;
  busy: number;
  containers: number;
  /** Containers that are starting, and the slots they will have. */
  booting: number;
  bootingSlots: number;
  /** Inputs taken that wait for a slot. */
  waiting: number;
  /** In the last seconds. */
  callsPerSecond: number;
  p50Ms?: number;
  /** What another container lacks, in words. */
  missing?: string;
}

export type LoadsOfRunner = Record<FunctionKey, FunctionLoad>;

export interface LoadStore {
  /** Replaces what this runner told before; it counts for `ttlMs`. Averages stay for good. */
  publish(runner: string, loads: LoadsOfRunner, ttlMs: number): Promise<void>;
  /** By runner; a runner that told nothing lately has none. */
  read(runners: readonly string[]): Promise<LoadsOfRunner[]>;
  /** The last averages of functions, also of those that nobody serves now. */
  paces(keys: readonly FunctionKey[]): Promise<(FunctionPace | undefined)[]>;
}

const EMPTY: FunctionLoad = {
  ...{ slots: 0, busy: 0, containers: 0, booting: 0, bootingSlots: 0, waiting: 0, callsPerSecond: 0 },
};

/** How a runner begins to tell that the image is on its way to its node. */
export const FETCHING = "fetching the image";

/** What is on its way says more than what another node lacks. */
const firstMissing = (loads: readonly FunctionLoad[]): string | undefined =>
  (loads.find(({ missing }) => missing?.startsWith(FETCHING)) ?? loads[0])?.missing;

/** Of one function on all nodes: sums, averages weighted by calls, and the first thing that is missing. */
export function sumLoads(loads: readonly FunctionLoad[]): FunctionLoad {
  const sum = (pick: (load: FunctionLoad) => number): number => loads.reduce((total, load) => total + pick(load), 0);
  const mean = (pick: (load: FunctionLoad) => number | undefined): number | undefined => {
    const known = loads.filter((load) => pick(load) !== undefined);
    const weight = ({ callsPerSecond }: FunctionLoad): number => callsPerSecond + 0.01;
    const total = known.reduce((all, load) => all + weight(load), 0);
    return total === 0 ? undefined : known.reduce((all, load) => all + pick(load)! * weight(load), 0) / total;
  };
  return {
    ...EMPTY,
    ...{ slots: sum((one) => one.slots), busy: sum((one) => one.busy), containers: sum((one) => one.containers) },
    ...{ booting: sum((one) => one.booting), bootingSlots: sum((one) => one.bootingSlots) },
    ...{ waiting: sum((one) => one.waiting), callsPerSecond: sum((one) => one.callsPerSecond) },
    runMs: mean((one) => one.runMs),
    bootMs: mean((one) => one.bootMs),
    p50Ms: mean((one) => one.p50Ms),
    // Where one node has room, nothing is missing.
    missing: loads.every(({ missing }) => missing !== undefined) ? firstMissing(loads) : undefined,
  };
}
