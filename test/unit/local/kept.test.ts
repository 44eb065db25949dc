/** A kept process: ready before it counts, restarted when it dies, gone when stopped; with invented time and processes. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { keep } from "../../../local/kept.ts";
import type { Exit, Launched, ReadyLine } from "../../../local/launch.ts";
import type { ProcessPlan } from "../../../local/plan.ts";

const plan: ProcessPlan = {
  name: "gateway",
  command: "gateway",
  args: [],
  env: {},
  readiness: "line",
  readyWithinMs: 1000,
  graceMs: 500,
};

interface Invented extends Launched {
  ready(line: ReadyLine): void;
  die(exit: Exit): void;
  signals: string[];
}

function invented(obeysTerm = true): Invented {
  let ready: (line: ReadyLine) => void = () => {};
  let die: (exit: Exit) => void = () => {};
  const readyLine = new Promise<ReadyLine>((resolve) => {
    ready = resolve;
  });
  const exited = new Promise<Exit>((resolve) => {
    die = resolve;
  });
  const signals: string[] = [];
  const kill = (signal: NodeJS.Signals): void => {
    signals.push(signal);
    if (obeysTerm || signal === "SIGKILL") die({ code: null, signal });
  };
  return { pid: 42, readyLine, exited, kill, ready: (line) => ready(line), die: (exit) => die(exit), signals };
}

function setting(processes: Invented[]) {
  const clock = manualClock();
  const changes: object[] = [];
  const kept = keep(plan, {
    clock,
    logFile: join(mkdtempSync(join(tmpdir(), "fabric-kept-")), "gateway.log"),
    launch: async () => processes.shift()!,
    answers: async () => {},
    onChange: (change) => changes.push(change),
  });
  return { clock, changes, kept };
}

/** Lets everything that waits only for settled promises happen. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it("is started once its ready line came", async () => {
  const one = invented();
  const { kept } = setting([one]);
  const started = kept.start();
  one.ready({ ready: true, port: 7 });
  expect(await started).toEqual({ ready: true, port: 7 });
});

it("fails with the exit when it ends before it is ready", async () => {
  const one = invented();
  const { kept } = setting([one]);
  const started = kept.start();
  one.die({ code: 98, signal: null });
  await expect(started).rejects.toThrow("gateway ended while starting (exit code 98)");
});

it("kills one that stays silent, and fails", async () => {
  const one = invented();
  const { kept, clock } = setting([one]);
  const started = kept.start();
  await settle();
  clock.advance(1000);
  await expect(started).rejects.toThrow("gateway was not ready within 1 s");
  expect(one.signals).toEqual(["SIGTERM"]);
});

it("restarts what dies, at once and then later and later", async () => {
  const processes = [invented(), invented(), invented(), invented()];
  const [one, two, three] = processes;
  const { kept, clock, changes } = setting(processes);
  one?.ready({ ready: true });
  await kept.start();
  one?.die({ code: 1, signal: null });
  await settle();
  clock.advance(0);
  await settle();
  two?.die({ code: null, signal: "SIGKILL" });
  await settle();
  clock.advance(199);
  await settle();
  expect(changes).toHaveLength(4);
  clock.advance(1);
  await settle();
  expect(changes).toEqual([
    { pid: 42 },
    { exit: { code: 1, signal: null }, restartInMs: 0 },
    { pid: 42 },
    { exit: { code: null, signal: "SIGKILL" }, restartInMs: 200 },
    { pid: 42 },
  ]);
  await kept.stop();
  expect(three?.signals).toEqual(["SIGTERM"]);
});

it("restarts nothing once it was told to stop, and kills what does not obey", async () => {
  const one = invented(false);
  const { kept, clock } = setting([one, invented()]);
  one.ready({ ready: true });
  await kept.start();
  const stopped = kept.stop();
  await settle();
  clock.advance(500);
  await stopped;
  expect(one.signals).toEqual(["SIGTERM", "SIGKILL"]);
});
