/** How soon a dead process starts again. */
import { expect, it } from "vitest";
import { countDeath, restartDelay, STEADY_MS } from "../../../local/restart-delay.ts";

it("restarts at once after the first death, then ever later, and never later than 10 s", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 9].map(restartDelay)).toEqual([0, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  expect(restartDelay(10_000)).toBe(10_000);
});

it("forgets earlier deaths of a process that lived well", () => {
  expect(countDeath(5, STEADY_MS - 1)).toBe(6);
  expect(countDeath(5, STEADY_MS)).toBe(1);
});
