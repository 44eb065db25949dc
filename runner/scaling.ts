/** How many containers a version should have here, and which idle ones go: pure functions of load, policy and time. */

export interface Load {
  /** Containers booked, starting or ready. */
  containers: number;
  /** Of those, booked or starting. */
  starting: number;
  /** Of those, how many have lent their place: everything in them waits for calls. */
  lent?: number;
  /** Slots in use. */
  busySlots: number;
  /** Inputs taken from the queue that wait for a slot. */
  waiting: number;
  /** Inputs still in the queue. */
  queued: number;
  /** How long an input takes, as a moving average; unknown before the first. */
  runMs?: number;
}

export interface ScalingPolicy {
  slots: number;
  min: number;
  max: number;
  /** Further containers kept ready while there is demand. */
  buffer: number;
  /** How long an idle container is kept. */
  scaledownMs: number;
}

/** What demand asks for; `idleToStop` decides when surplus ones go. */
export function desiredContainers(load: Load, policy: ScalingPolicy): number {
  const inputs = load.busySlots + load.waiting + load.queued;
  const forDemand = Math.ceil(inputs / policy.slots);
  const withBuffer = inputs > 0 ? forDemand + policy.buffer : 0;
  return Math.max(policy.min, Math.min(policy.max + (load.lent ?? 0), withBuffer));
}

/** A queue that is through in less time is not worth another container, whose start alone takes longer. */
const WORTH_MS = 20;

function drainsSoon({ waiting, queued, runMs, ...load }: Load, { slots, min }: ScalingPolicy): boolean {
  const containers = load.containers - (load.lent ?? 0);
  if (runMs === undefined || containers < Math.max(min, 1)) return false;
  return ((waiting + queued) * runMs) / (containers * slots) < WORTH_MS;
}

/** Starts to make now; `bootRoom` is how many more containers the node may boot at once. */
export function startsNow(load: Load, policy: ScalingPolicy, bootRoom: number): number {
  if (drainsSoon(load, policy)) return 0;
  return Math.max(0, Math.min(desiredContainers(load, policy) - load.containers, bootRoom));
}

export interface Idle {
  id: string;
  /** When its last input ended. */
  since: number;
}

/** Longest idle first; never below what demand and `min` ask for. */
export function idleToStop(idle: Idle[], load: Load, policy: ScalingPolicy, now: number): string[] {
  const surplus = load.containers - desiredContainers(load, policy);
  if (surplus <= 0) return [];
  return idle
    .filter(({ since }) => now - since >= policy.scaledownMs)
    .sort((a, b) => a.since - b.since)
    .slice(0, surplus)
    .map(({ id }) => id);
}
