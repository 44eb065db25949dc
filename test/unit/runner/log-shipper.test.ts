/** What a container may print, what becomes of the rest, and what an outage of Redis costs. */
import pino from "pino";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import type { LogLine } from "../../../core/state-store.ts";
import { lineLimit } from "../../../runner/line-limit.ts";
import { createLogShipper } from "../../../runner/log-shipper.ts";

const source = { app: "a", fn: "f", container: "con_1" };

function shipper(limit = { perSecond: 10, burst: 20 }) {
  const clock = manualClock(1_000);
  const kept: LogLine[] = [];
  const redis = { isAway: false };
  const logs = {
    async append(_app: string, lines: LogLine[]) {
      if (redis.isAway) throw new Error("away");
      kept.push(...lines);
    },
  };
  const made = createLogShipper({ logs, clock, log: pino({ level: "silent" }), limit });
  const advance = async (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      clock.advance(50);
      await new Promise(setImmediate);
    }
  };
  return { made, kept, redis, advance };
}

it("lets a burst pass, then as many as come back with time; long lines count for more", () => {
  const mayPass = lineLimit({ perSecond: 10, burst: 5 });
  const passed = (count: number, now: number, bytes = 10) =>
    Array.from({ length: count }, () => mayPass(bytes, now)).filter(Boolean).length;
  expect(passed(10, 0)).toBe(5);
  expect(passed(10, 200)).toBe(2);
  expect(passed(10, 60_000)).toBe(5);
  expect(passed(10, 120_000, 2_000)).toBe(2);
  expect(mayPass(1_000_000, 180_000)).toBe(true);
});

it("drops what a container prints beyond its share, says how many, and takes nothing from others", async () => {
  const { made, kept, advance } = shipper();
  const noisy = made.open(source);
  const quiet = made.open({ ...source, container: "con_2" });
  noisy.print("stdout", `${Array.from({ length: 100 }, (_, i) => `line ${i}`).join("\n")}\n`, { invocation: "inv_1" });
  quiet.print("stdout", "here\n", { invocation: "inv_2" });
  await advance(2_000);
  expect(kept.filter(({ container, source: from }) => container === "con_1" && from === "stdout")).toHaveLength(20);
  expect(kept.find(({ container }) => container === "con_2")).toMatchObject({ text: "here", invocation: "inv_2" });
  const gaps = kept.filter(({ gap }) => gap);
  expect(gaps).toMatchObject([
    { fn: "f", container: "con_1", invocation: "inv_1", gap: { lines: 80 }, source: "system" },
  ]);
  expect(gaps[0]!.text).toBe("(80 lines are missing here: the container printed more than 10 lines a second)");
});

it("keeps what Redis does not take, in bounds, and counts the rest", async () => {
  const { made, kept, redis, advance } = shipper({ perSecond: 1e9, burst: 1e9 });
  redis.isAway = true;
  const one = made.open(source);
  one.print("stdout", `${"x\n".repeat(30_000)}`);
  await advance(200);
  expect(kept).toEqual([]);
  redis.isAway = false;
  await advance(10_000);
  await made.flush();
  const lost = kept.filter(({ gap }) => gap).reduce((sum, { gap }) => sum + gap!.lines!, 0);
  expect(kept.filter(({ gap }) => !gap).length + lost).toBe(30_000);
  expect(lost).toBeGreaterThan(0);
});
