/** The loads of the random mix: each sends one kind of work, and finds the promises that were broken to it. */
import { startFamilies } from "./family-load.ts";
import { type FaultFabric, KINDS } from "./fault-fabric.ts";
import { check, type Kind, startLoad } from "./load.ts";
import { startMaps } from "./map-load.ts";
import { startStreams } from "./stream-load.ts";

export interface RunningLoad {
  /** Sends nothing new; resolves when all that is repeated is accepted, with the number of what was. */
  stop(deadlineMs: number): Promise<number>;
  abandon(): void;
  /** Waits for the end of all that was accepted, and answers the promises that were broken. */
  check(options: { disruptions: number; deadlineMs: number }): Promise<string[]>;
}

export interface MixLoad {
  name: string;
  /** Of the rate of plain calls. */
  share: number;
  start(fabric: FaultFabric, perSecond: number): RunningLoad;
}

const DELAYED: Kind[] = [
  { fn: "fast", share: 2, delaySeconds: 1 },
  { fn: "brief", share: 1, delaySeconds: 4 },
];

export const MIX_LOADS: MixLoad[] = [
  { name: "calls", share: 1, start: (fabric, rate) => calls(fabric, rate, KINDS) },
  { name: "maps", share: 0.02, start: startMaps },
  { name: "generators", share: 0.04, start: startStreams },
  { name: "families", share: 0.04, start: startFamilies },
  { name: "delayed calls", share: 0.1, start: (fabric, rate) => calls(fabric, rate, DELAYED) },
];

function calls(fabric: FaultFabric, perSecond: number, kinds: Kind[]): RunningLoad {
  const journal = fabric.journal!;
  const load = startLoad({ fabric, journal, perSecond, kinds });
  return {
    stop: async (deadlineMs) => (await load.stop(deadlineMs)).length,
    abandon: load.abandon,
    check: (options) => check(fabric, load.accepted, journal, options),
  };
}
