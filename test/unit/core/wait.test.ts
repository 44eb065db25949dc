/** Why a call waits, in words and numbers: every reason a person can be given. */
import { describe, expect, it } from "vitest";
import { type FunctionLoad, sumLoads } from "../../../core/load.ts";
import { drainSeconds, duration, explainWait, type WaitFacts } from "../../../core/wait.ts";

const NOW = Date.parse("2026-11-24T12:00:00Z");
const load = (over: Partial<FunctionLoad> = {}): FunctionLoad => ({ ...sumLoads([]), ...over });
const facts = (over: Partial<WaitFacts> = {}, record: Partial<WaitFacts["record"]> = {}): WaitFacts => ({
  now: NOW,
  nodes: 1,
  record: { state: "queued", cancelRequested: false, ...record },
  ...over,
});
const busy = load({ slots: 4, busy: 4, runMs: 2_500 });

describe("a queued call", () => {
  it.each<[string, WaitFacts, string, number | undefined]>([
    ["no node", facts({ nodes: 0 }), "no node is there: start a runner (`fabric up`)", undefined],
    [
      "its key is busy",
      facts({ nodes: 0 }, { isParked: true, reason: "waiting for key u: 2 of 2 running" }),
      "waiting for key u: 2 of 2 running",
      undefined,
    ],
    ["no token", facts({}, { dueAt: NOW + 600, reason: "rate limit 100/m" }), "rate limit 100/m; 600 ms left", 600],
    ["nobody serves it", facts({ ahead: 0 }), "waiting for a runner to take it", undefined],
    ["not in the queue yet", facts({ load: busy }), "waiting for a runner to take it", undefined],
    [
      "all slots busy",
      facts({ load: busy, ahead: 12 }),
      "waiting for a slot: 4/4 busy, 12 ahead, about 8.1 s (inputs take 2.5 s)",
      8_125,
    ],
    [
      "next",
      facts({ load: busy, ahead: 0 }),
      "waiting for a slot: 4/4 busy, next in line, about 630 ms (inputs take 2.5 s)",
      625,
    ],
    ["a slot is free", facts({ load: { ...busy, busy: 2 }, ahead: 1 }), "about to be taken: 2/4 slots busy", 0],
    [
      "others were taken before it and wait",
      facts({ load: { ...busy, waiting: 4 }, ahead: 0 }),
      "waiting for a slot: 4/4 busy, next in line, about 3.1 s (inputs take 2.5 s)",
      3_125,
    ],
    [
      "no input has ended",
      facts({ load: load({ slots: 1, busy: 1 }), ahead: 3 }),
      "waiting for a slot: 1/1 busy, 3 ahead, for how long is unknown: no input has ended yet",
      undefined,
    ],
    [
      "nothing is left for more",
      facts({ load: { ...busy, missing: "no cpu: 1 asked, 0 free on nod_1" }, ahead: 0 }),
      "waiting for a slot: 4/4 busy, next in line, about 630 ms (inputs take 2.5 s); no further container: no cpu: 1 asked, 0 free on nod_1",
      625,
    ],
    [
      "nothing is left at all",
      facts({ load: load({ missing: "no A100 free: 1 asked, 0 free on nod_1, 2 held by bert/train" }), ahead: 2 }),
      "no A100 free: 1 asked, 0 free on nod_1, 2 held by bert/train, 2 ahead",
      undefined,
    ],
    [
      "its container starts",
      facts({ load: load({ booting: 1, bootingSlots: 1, bootMs: 1_200 }), ahead: 0 }),
      "starting a container (boot takes about 1.2 s)",
      1_200,
    ],
    [
      "a container starts for others first",
      facts({ load: load({ booting: 2, bootingSlots: 2, bootMs: 1_200, runMs: 1_000 }), ahead: 4 }),
      "starting a container (boot takes about 1.2 s), 4 ahead, about 3.2 s",
      3_200,
    ],
    [
      "again, after a fault",
      facts({ load: busy, ahead: 0 }, { reason: "retry 1 of 2 at once after ValueError: no" }),
      "retry 1 of 2 at once after ValueError: no; waiting for a slot: 4/4 busy, next in line, about 630 ms (inputs take 2.5 s)",
      625,
    ],
    [
      "for its retry's time",
      facts({ load: busy }, { dueAt: NOW + 3_900, reason: "retry 2 of 3 in 4.0 s after ValueError: no" }),
      "retry 2 of 3 in 4.0 s after ValueError: no; 3.9 s left",
      3_900,
    ],
    ["for its delay", facts({}, { dueAt: NOW + 60_000 }), "due in 60 s, at 2026-11-24T12:01:00.000Z", 60_000],
  ])("%s", (_name, given, reason, estimateMs) => {
    const wait = explainWait(given);
    expect(wait.reason).toBe(reason);
    expect(wait.estimateMs).toBe(estimateMs);
  });
});

describe("a running call", () => {
  it.each<[string, WaitFacts, string]>([
    [
      "no slot yet, its container starts",
      facts({ load: load({ booting: 1, bootMs: 300 }) }, { state: "running", reason: "starting a container" }),
      "starting a container (boot takes about 300 ms)",
    ],
    [
      "no room for its container",
      facts({}, { state: "running", reason: "no memory: 512 MiB asked, 0 MiB free on nod_1" }),
      "no memory: 512 MiB asked, 0 MiB free on nod_1",
    ],
    [
      "taken ahead of its slot",
      facts({ load: busy }, { state: "running" }),
      "waiting for a slot: 4/4 busy, next in line, about 630 ms (inputs take 2.5 s)",
    ],
    [
      "in its container",
      facts({ load: busy }, { state: "running", container: "con_1", startedAt: NOW - 3_000 }),
      "running in con_1 for 3.0 s (inputs take 2.5 s)",
    ],
    [
      "being cancelled",
      facts({}, { state: "running", container: "con_1", cancelRequested: true }),
      "being cancelled in con_1",
    ],
  ])("%s", (_name, given, reason) => expect(explainWait(given).reason).toBe(reason));
});

it.each<[string, WaitFacts, string]>([
  [
    "running",
    facts({ load: busy }, { state: "running", map: { total: 100, done: 30, failed: 1, sealed: true, inlineBytes: 0 } }),
    "30 of 100 inputs done, 1 failed; 4/4 slots busy",
  ],
  [
    "open",
    facts({}, { map: { total: 3, done: 0, failed: 0, sealed: false, inlineBytes: 0 } }),
    "0 of 3 inputs done, more may come",
  ],
  [
    "no node",
    facts({ nodes: 0 }, { map: { total: 3, done: 0, failed: 0, sealed: true, inlineBytes: 0 } }),
    "0 of 3 inputs done; no node is there: start a runner (`fabric up`)",
  ],
])("a map that is %s tells its progress", (_name, given, reason) => expect(explainWait(given).reason).toBe(reason));

it.each([
  ["nobody serves it", undefined, 10, 5],
  ["no input has ended yet", load({ slots: 4 }), 10, 5],
  ["slots take them in turn", busy, 10, 7],
  ["it is soon", load({ slots: 4, runMs: 1 }), 10, 1],
  ["it is long", busy, 10_000, 60],
])("whoever is refused comes back when there is room: %s", (_name, given, entries, seconds) =>
  expect(drainSeconds(given, entries)).toBe(seconds),
);

it("adds nodes up; something is missing only where it is missing everywhere", () => {
  const all = sumLoads([
    load({ slots: 2, busy: 1, runMs: 100, callsPerSecond: 9, missing: "no cpu" }),
    load({ slots: 4, busy: 4, runMs: 200, callsPerSecond: 1 }),
  ]);
  expect(all).toMatchObject({ slots: 6, busy: 5, callsPerSecond: 10, missing: undefined });
  expect(all.runMs).toBeCloseTo(110, 0);
  expect(sumLoads([load({ missing: "no cpu" }), load({ missing: "no gpu" })]).missing).toBe("no cpu");
  const fetching = "fetching the image, 1 of 2 MB";
  expect(sumLoads([load({ missing: "no cpu" }), load({ missing: fetching })]).missing).toBe(fetching);
});

it.each([
  [0, "0 ms"],
  [-5, "0 ms"],
  [12.34, "12 ms"],
  [1_234, "1.2 s"],
  [30_400, "30 s"],
  [240_000, "4 min"],
  [7_300_000, "2.0 h"],
  [260_000_000, "3 days"],
])("%d ms are %s", (value, text) => expect(duration(value)).toBe(text));
