/** Schedules as a user meets them: deployed from Python, seen and steered from the command line. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process" });
  await fabric.json("deploy", "test/apps/ticking.py");
});
afterAll(() => fabric?.close());

const status = async () => (await fabric.json<{ schedules: any[] }>("schedule", "list")).schedules[0];

test("a deployed schedule calls its function, and says so", async () => {
  const shown = await until(
    async () => {
      const now = await status();
      return now.lastInvocation?.state === "succeeded" ? now : undefined;
    },
    60_000,
    "a tick is made and has ended",
  );
  expect(shown).toMatchObject({ app: "ticking", function: "tick", schedule: "every 1 second", paused: false });
  const record = await fabric.record(shown.lastInvocation.id);
  expect(record).toMatchObject({ trigger: "schedule", state: "succeeded" });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${record.id}/result`)).json()) as any;
  expect(result).toBe("called by the schedule");
});

test("pause, trigger and resume", async () => {
  expect((await fabric.cli("schedule", "pause", "ticking/tick")).stdout).toBe("ticking/tick is paused\n");
  const table = (await fabric.cli("schedule", "list")).stdout;
  expect(table).toMatch(/ticking\/tick +every 1 second +paused/);
  const { lastTick } = await status();
  const id = (await fabric.cli("schedule", "trigger", "ticking/tick")).stdout.trim();
  const record = await fabric.ended(id);
  expect(record).toMatchObject({ state: "succeeded", trigger: "schedule" });
  expect(record.tick).toBeUndefined();
  expect((await status()).lastTick).toBe(lastTick);
  expect((await fabric.cli("schedule", "resume", "ticking/tick")).stdout).toMatch(/runs next at 20.* UTC/);
  await until(async () => (await status()).lastTick !== lastTick, 30_000, "ticks go on");
  const wrong = await fabric.cli("schedule", "pause", "ticking/tock");
  expect([wrong.code === 0, wrong.stderr]).toEqual([false, expect.stringContaining("has no schedule")]);
});
