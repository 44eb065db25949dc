import { expect, it } from "vitest";
import { createSharedDeaths } from "../../../runner/shared-deaths.ts";

it("counts deaths by invocation and forgets whoever died longest ago", () => {
  const deaths = createSharedDeaths(2);
  for (const id of ["inv_a", "inv_b", "inv_a", "inv_c"]) deaths.note(id);
  expect(["inv_a", "inv_b", "inv_c", "inv_d"].map(deaths.of)).toEqual([2, 0, 1, 0]);
});
