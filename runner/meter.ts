/** How long one function's inputs and starts take here, and how many there are: averages to decide and to tell with. */
import type { FunctionPace } from "../core/load.ts";
import { smooth } from "../core/smooth.ts";

const LATEST = 64;
/** Starts are few: each counts more than an input does. */
const BOOT_WEIGHT = 0.3;
const RATE_WEIGHT = 0.4;

export interface Meter {
  ran(ms: number): void;
  booted(ms: number): void;
  /** Inputs turned out to take at least so long. */
  stuck(ms: number): void;
  runMs(): number | undefined;
  /** For those who are told once a second; `now` is monotonic. */
  read(now: number): FunctionPace & { callsPerSecond: number; p50Ms?: number };
}

export function createMeter(): Meter {
  const latest: number[] = [];
  let next = 0;
  let runMs: number | undefined;
  let bootMs: number | undefined;
  let count = 0;
  let rate = 0;
  let readAt: number | undefined;
  return {
    ran(ms) {
      runMs = smooth(runMs, ms);
      latest[next] = ms;
      next = (next + 1) % LATEST;
      count++;
    },
    booted(ms) {
      bootMs = bootMs === undefined ? ms : bootMs * (1 - BOOT_WEIGHT) + ms * BOOT_WEIGHT;
    },
    stuck(ms) {
      runMs = Math.max(runMs ?? 0, ms);
    },
    runMs: () => runMs,
    read(now) {
      const seconds = (now - (readAt ?? now - 1_000)) / 1_000;
      if (seconds > 0) rate += RATE_WEIGHT * (count / seconds - rate);
      readAt = now;
      count = 0;
      const sorted = latest.toSorted((a, b) => a - b);
      const callsPerSecond = rate < 0.01 ? 0 : round(rate);
      return { runMs: round(runMs), bootMs: round(bootMs), callsPerSecond, p50Ms: round(sorted[sorted.length >> 1]) };
    },
  };
}

function round(value: number): number;
function round(value: number | undefined): number | undefined;
function round(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Number(value.toPrecision(3));
}
