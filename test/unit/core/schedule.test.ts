/** When ticks fall: across changes of the clock, months of different lengths, and outages. */
import { describe, expect, it } from "vitest";
import { lastTick, nextTick, planTick, type Schedule, scheduleSchema, scheduleText } from "../../../core/schedule.ts";

const at = (text: string): number => Date.parse(text);
const cron = (text: string, timezone = "UTC", more: object = {}): Schedule =>
  scheduleSchema.parse({ kind: "cron", cron: text, timezone, ...more });
const period = (units: object): Schedule => scheduleSchema.parse({ kind: "period", ...units });

function ticks(schedule: Schedule, from: string, count: number, anchor = from): string[] {
  const found: string[] = [];
  for (let after = at(from); found.length < count; ) {
    after = nextTick(schedule, at(anchor), after)!;
    found.push(new Date(after).toISOString().replace(":00.000Z", "Z"));
  }
  return found;
}

describe("cron", () => {
  it("keeps its hour in its time zone when the clock changes", () => {
    expect(ticks(cron("0 9 * * *", "Europe/Berlin"), "2026-03-28T00:00:00Z", 2)).toEqual([
      "2026-03-28T08:00Z",
      "2026-03-29T07:00Z",
    ]);
  });

  it("runs once at the jump where its time does not exist", () => {
    expect(ticks(cron("30 2 * * *", "Europe/Berlin"), "2026-03-28T12:00:00Z", 2)).toEqual([
      "2026-03-29T01:00Z", // 03:00 in Berlin
      "2026-03-30T00:30Z",
    ]);
  });

  it("runs once, the first time, where its time comes twice", () => {
    expect(ticks(cron("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00:00Z", 2)).toEqual([
      "2026-10-25T00:30Z",
      "2026-10-26T01:30Z",
    ]);
  });

  it("goes on every half hour through both", () => {
    expect(ticks(cron("*/30 * * * *", "Europe/Berlin"), "2026-03-29T00:30:00Z", 2)).toEqual([
      "2026-03-29T01:00Z",
      "2026-03-29T01:30Z",
    ]);
    expect(ticks(cron("*/30 * * * *", "Europe/Berlin"), "2026-10-25T00:00:00Z", 3)).toEqual([
      "2026-10-25T00:30Z",
      "2026-10-25T01:00Z",
      "2026-10-25T01:30Z",
    ]);
  });

  it("is not made twice by a look in the middle of its second", () => {
    expect(nextTick(cron("* * * * *"), 0, at("2026-01-01T00:00:00.400Z"))).toBe(at("2026-01-01T00:01:00Z"));
    expect(nextTick(cron("* * * * *"), 0, at("2025-12-31T23:59:59.900Z"))).toBe(at("2026-01-01T00:00:00Z"));
  });

  it.each([
    ["0 9 * *", "UTC", /five fields/],
    ["* * * * * *", "UTC", /five fields/],
    ["61 * * * *", "UTC", /minute/],
    ["0 0 31 2 *", "UTC", /never comes/],
    ["0 9 * * *", "Mars/Crater", /no time zone/],
  ])("refuses %s in %s", (text, timezone, message) => {
    expect(() => cron(text, timezone)).toThrow(message);
  });
});

describe("period", () => {
  it("is counted from its anchor, whenever one looks", () => {
    expect(ticks(period({ hours: 1, minutes: 30 }), "2026-01-01T10:20:00Z", 2, "2026-01-01T00:10:00Z")).toEqual([
      "2026-01-01T10:40Z",
      "2026-01-01T12:10Z",
    ]);
    expect(nextTick(period({ seconds: 2 }), at("2026-01-01T00:00:00Z"), 0)).toBe(at("2026-01-01T00:00:02Z"));
  });

  it("takes months as the calendar has them", () => {
    expect(ticks(period({ months: 1 }), "2026-01-31T09:00:00Z", 3)).toEqual([
      "2026-02-28T09:00Z",
      "2026-03-31T09:00Z",
      "2026-04-30T09:00Z",
    ]);
    expect(ticks(period({ years: 1 }), "2024-02-29T00:00:00Z", 1, "2024-02-29T00:00:00Z")).toEqual([
      "2025-02-28T00:00Z",
    ]);
    expect(ticks(period({ months: 1, days: 1 }), "2026-01-01T00:00:00Z", 2)).toEqual([
      "2026-02-02T00:00Z",
      "2026-03-03T00:00Z",
    ]);
  });

  it("is a second at least", () => {
    expect(() => period({})).toThrow(/1 second/);
    expect(() => period({ seconds: 0.5 })).toThrow(/1 second/);
  });
});

describe("what is due", () => {
  const hourly = (on_missed: string) => cron("0 * * * *", "UTC", { on_missed });
  const due = at("2026-01-01T08:00:00Z");

  it("is made, and the next one follows", () => {
    expect(planTick(hourly("skip"), 0, due, due + 9_000)).toEqual({ make: due, next: due + 3_600_000 });
  });

  it("stands for all missed ones in one run, or in none", () => {
    const now = at("2026-01-04T10:30:00Z");
    const last = at("2026-01-04T10:00:00Z");
    expect(planTick(hourly("run_once"), 0, due, now)).toEqual({ make: last, next: last + 3_600_000 });
    expect(planTick(hourly("skip"), 0, due, now)).toEqual({ make: undefined, next: last + 3_600_000 });
  });

  it("is made also where those before it are skipped", () => {
    const tick = at("2026-01-04T10:00:00Z");
    expect(planTick(hourly("skip"), 0, due, tick + 3_000)).toEqual({ make: tick, next: tick + 3_600_000 });
  });

  it("is made one after the other when somebody looks late", () => {
    const every = period({ seconds: 1 });
    expect(planTick(every, 0, 5_000, 9_500)).toEqual({ make: 5_000, next: 6_000 });
  });
});

it("finds the last tick before a moment, years after the first", () => {
  const yearly = cron("0 0 1 1 *");
  expect(lastTick(yearly, 0, at("2020-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"))).toBe(at("2026-01-01T00:00:00Z"));
  const minutely = cron("* * * * *");
  const began = performance.now();
  expect(lastTick(minutely, 0, at("2020-01-01T00:00:00Z"), at("2026-06-01T00:00:30Z"))).toBe(
    at("2026-06-01T00:00:00Z"),
  );
  expect(performance.now() - began).toBeLessThan(500);
});

it("says in words when", () => {
  expect(scheduleText(cron("0 9 * * *", "Europe/Berlin"))).toBe("0 9 * * * Europe/Berlin");
  expect(scheduleText(period({ hours: 1, minutes: 30 }))).toBe("every 1 hour 30 minutes");
});
