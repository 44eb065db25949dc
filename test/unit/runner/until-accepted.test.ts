/** Calls of functions are held up by a full Redis, for a while. */
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import { untilAccepted } from "../../../runner/until-accepted.ts";

/** Refused so many times; time goes on by half a second after each. */
function setUp(refusals: number, code: "too_many_invocations" | "call_too_deep" = "too_many_invocations") {
  const clock = manualClock();
  const over = new AbortController();
  let asked = 0;
  const act = async () => {
    if (asked++ >= refusals) return "accepted";
    setImmediate(() => clock.advance(500));
    throw new FabricError(code, "no");
  };
  return { over, asked: () => asked, outcome: () => untilAccepted(clock, act, over.signal) };
}

it("asks again while there is no room", async () => {
  const one = setUp(3);
  expect(await one.outcome()).toBe("accepted");
  expect(one.asked()).toBe(4);
});

it("gives up after a minute, and at once on anything else", async () => {
  const full = setUp(1_000);
  await expect(full.outcome()).rejects.toMatchObject({ code: "too_many_invocations" });
  expect(full.asked()).toBe(121);
  const refused = setUp(1_000, "call_too_deep");
  await expect(refused.outcome()).rejects.toMatchObject({ code: "call_too_deep" });
  expect(refused.asked()).toBe(1);
});

it("asks for nobody who has gone", async () => {
  const one = setUp(1_000);
  const outcome = one.outcome();
  one.over.abort(new FabricError("cancelled", "gone"));
  await expect(outcome).rejects.toMatchObject({ code: "cancelled" });
  expect(one.asked()).toBe(1);
});
