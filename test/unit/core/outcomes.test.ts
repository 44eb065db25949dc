/** Waiting for outcomes: with hints, without them, through an outage, and for clients that have gone. */
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import type { InvocationRecord } from "../../../core/invocation.ts";
import { followOutcomes } from "../../../core/outcomes.ts";
import type { StateStore } from "../../../core/state-store.ts";
import { waitMs } from "../../../gateway/prefer.ts";

/** Only what waiting asks of the store, told by hand when an invocation ends and what each look sees. */
async function setUp() {
  const clock = manualClock();
  let hint: (record: InvocationRecord) => void = () => {};
  let looks = 0;
  let answer: () => InvocationRecord | undefined = () => ({ state: "running" }) as InvocationRecord;
  const state = {
    hints: {
      onDone: async (_waiter: string, listener: (record: InvocationRecord) => void) => {
        hint = listener;
        return () => {};
      },
    },
    invocations: {
      get: async () => {
        looks++;
        return answer();
      },
    },
  } as unknown as StateStore;
  const outcomes = await followOutcomes(state, clock);
  return {
    clock,
    outcomes,
    hint: (record: InvocationRecord) => hint(record),
    looks: () => looks,
    sees: (next: typeof answer) => {
      answer = next;
    },
    /** Lets what is due run, then what that started. */
    async advance(ms: number) {
      clock.advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
const done = { id: "inv_1", state: "succeeded" } as InvocationRecord;

it("returns on the hint, which tells the record, without a look", async () => {
  const { outcomes, hint, looks } = await setUp();
  const wait = outcomes.begin("inv_1").wait(60_000);
  hint(done);
  expect(await wait).toBe(done);
  expect(looks()).toBe(0);
});

it("does not miss a hint that comes before the wait", async () => {
  const { outcomes, hint } = await setUp();
  const pending = outcomes.begin("inv_1");
  hint(done);
  expect(await pending.wait(60_000)).toBe(done);
});

it("looks at growing intervals when no hint comes, and gives up at the end", async () => {
  const { outcomes, looks, advance } = await setUp();
  const wait = outcomes.begin("inv_1").wait(10_000);
  for (const [ms, expected] of [
    [499, 0],
    [1, 1],
    [1_000, 2],
    [2_000, 3],
    [4_000, 4],
    [2_500, 5],
  ] as const) {
    await advance(ms);
    expect(looks()).toBe(expected);
  }
  expect((await wait)?.state).toBe("running");
});

it("wakes everybody who waits for the same one, and nobody else", async () => {
  const { outcomes, hint, sees, looks } = await setUp();
  const both = [outcomes.begin("inv_1").wait(60_000), outcomes.begin("inv_1").wait(60_000)];
  const other = outcomes.begin("inv_2").wait(60_000);
  hint(done);
  expect(await Promise.all(both)).toEqual([done, done]);
  expect(looks()).toBe(0);
  sees(() => done);
  outcomes.close();
  expect(await other).toBe(done);
});

it("goes on waiting through an outage of the store, and tells it at the end", async () => {
  const { outcomes, advance, sees } = await setUp();
  const away = () => {
    throw new FabricError("redis_unavailable", "away");
  };
  sees(away);
  const survives = outcomes.begin("inv_1").wait(60_000);
  const ends = outcomes.begin("inv_2").wait(500);
  ends.catch(() => undefined);
  await advance(500);
  await expect(ends).rejects.toMatchObject({ code: "redis_unavailable" });
  sees(() => done);
  await advance(1_000);
  expect(await survives).toBe(done);
});

it("stops when the client has gone, or the gateway stops", async () => {
  const { outcomes, advance, looks } = await setUp();
  let isThere = true;
  const gone = outcomes.begin("inv_1").wait(waitMs("wait=600"), () => isThere);
  isThere = false;
  await advance(500);
  await gone;
  expect(looks()).toBe(1);
  const stopped = outcomes.begin("inv_2").wait(600_000);
  outcomes.close();
  expect((await stopped)?.state).toBe("running");
});
