/** Ten times more calls than there is room for: all that were accepted are done, and other functions hardly notice. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultFabric, passes, startFaultFabric } from "../support/fault-fabric.ts";

/** `narrow` in test/apps/faults.py: two slots, a tenth of a second each. */
const CAPACITY_PER_SECOND = 20;
const SECONDS = 3;
/** For a call of a function that is warm and idle, on a busy machine. */
const BESIDE_MS = 3_000;

let fabric: FaultFabric;
beforeAll(async () => {
  fabric = await startFaultFabric({ warm: ["fast", "narrow"] });
});
afterAll(() => fabric?.close());

test("ten times its capacity: a function does all calls it accepted, others go on beside it", async () => {
  const load = fabric.load(10 * CAPACITY_PER_SECOND, [{ fn: "narrow", share: 1 }]);
  const since = performance.now();
  while (performance.now() - since < SECONDS * 1_000) {
    const before = performance.now();
    await fabric.works();
    expect(performance.now() - before).toBeLessThan(BESIDE_MS);
    await passes(100);
  }
  await fabric.allHolds(load, { deadlineMs: 90_000 });
  expect(load.accepted.length).toBeGreaterThan(5 * CAPACITY_PER_SECOND * SECONDS);
});
