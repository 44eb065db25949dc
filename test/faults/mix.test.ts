/** Random faults, one after another, under calls of all kinds; `npm run bench -- faults --seed N --minutes M` runs it for longer. */
import { expect, test } from "vitest";
import { runMix } from "../support/mix.ts";

const SEED = 7;

test("a mix of faults under load: each accepted call ends once, as it should, and nothing runs twice unasked", async () => {
  const { accepted, faults, timeline, broken, logs } = await runMix({ seed: SEED, seconds: 40, perSecond: 25 });
  const told = [`seed ${SEED}, logs in ${logs}`, ...timeline, ...broken.slice(0, 20)].join("\n");
  expect(broken.length, told).toBe(0);
  expect(faults).toBeGreaterThan(5);
  expect(accepted, told).toBeGreaterThan(300);
});
