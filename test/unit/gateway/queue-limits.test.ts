/** When a queue is looked at, and who is refused. */
import { pino } from "pino";
import { expect, it } from "vitest";
import type { Target } from "../../../core/catalog.ts";
import { systemClock } from "../../../core/clock.ts";
import { memoryCheckMs } from "../../../core/redis-state.ts";
import { createQueueLimits, judge, type Seen } from "../../../gateway/queue-limits.ts";

const seen = (over: Partial<Seen> = {}): Seen => ({ depth: 0, at: 0, since: 0, ...over });

it.each([
  ["far from the limit, and looked at lately", seen({ since: 40 }), 10, "pass"],
  ["looked at long ago", seen({ since: 1 }), 2_000, "look"],
  ["never looked at", seen({ at: Number.NEGATIVE_INFINITY }), 10, "look"],
  ["half of the room is used since", seen({ depth: 80, since: 10 }), 10, "look"],
  ["full, if nothing was taken since", seen({ depth: 80, since: 20 }), 10, "ask"],
  ["full just now", seen({ depth: 100 }), 10, "refuse"],
  ["full a moment ago", seen({ depth: 100 }), 200, "ask"],
])("%s", (_name, given, now, verdict) => expect(judge(given, 100, now)).toBe(verdict));

it("lets through what there is room for, and looks seldom", async () => {
  let depth = 0;
  let looks = 0;
  const limits = createQueueLimits({
    queue: {
      depth: async () => {
        looks++;
        return depth;
      },
    },
    outbox: { waiting: () => 0 },
    waits: { fleet: async () => ({ nodes: [], loads: new Map() }) },
    clock: systemClock,
    log: pino({ level: "silent" }),
    maxQueued: 1_000,
  });
  const target = { app: "a", name: "f", key: "a/f", spec: { max_queued: null } } as unknown as Target;
  const refusedAt = async (): Promise<number> => {
    for (let accepted = 0; ; accepted++) {
      try {
        await limits.admit(target);
        depth++;
      } catch (error) {
        expect(error).toMatchObject({ code: "queue_full", details: { limit: 1_000, retryAfterSeconds: 5 } });
        return accepted;
      }
    }
  };
  expect(await refusedAt()).toBe(1_000);
  expect(looks).toBeLessThan(30);
});

it.each([
  ["without a limit", { used: 1e9, max: 0 }, 1_000],
  ["far from full", { used: 2 ** 28, max: 2 ** 30 }, 1_000],
  ["near full", { used: 0.75 * 2 ** 30, max: 2 ** 30 }, 205],
  ["full", { used: 2 ** 30, max: 2 ** 30 }, 50],
])("memory %s is looked at again in time", (_name, memory, ms) => expect(Math.round(memoryCheckMs(memory))).toBe(ms));
