/** When an accepted call goes into its queue: only when no runner has claimed it, and several in one go. */
import { pino } from "pino";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { FabricError } from "../../../core/errors.ts";
import type { FunctionKey } from "../../../core/invocation.ts";
import { createOutbox, headStartMs } from "../../../core/outbox.ts";
import type { QueuedEntry } from "../../../core/state-store.ts";

/** A store and a queue that only write down what they are asked. */
function setUp(claimed: string[] = [], isAway = false) {
  const clock = manualClock();
  const asked: string[][] = [];
  const added: string[][] = [];
  const enqueued: string[][] = [];
  const ids = (entries: { id: string }[]) => entries.map(({ id }) => id);
  const outbox = createOutbox({
    clock,
    log: pino({ level: "silent" }),
    queue: {
      add: async (key, ...entries) => {
        if (isAway) throw new FabricError("redis_unavailable", "away");
        added.push([key, ...ids(entries)]);
      },
    },
    state: {
      invocations: {
        async unclaimed(entries) {
          asked.push(ids(entries));
          return entries.filter(({ id }) => !claimed.includes(id));
        },
        async enqueued(...entries) {
          enqueued.push(ids(entries));
        },
      },
    },
  });
  return { clock, outbox, asked, added, enqueued };
}
const ended = (id: string, claimedAt: number) => ({ id, app: "a", fn: "f", attempts: 1, createdAt: 0, claimedAt });
const entry = (id: string, key: FunctionKey = "a/f"): QueuedEntry => ({ key, id, generation: 1 });

it("asks once for those posted close together, and queues by function what nobody has claimed", async () => {
  const { clock, outbox, asked, added, enqueued } = setUp(["2"]);
  for (const id of ["1", "2", "3"]) outbox.post(entry(id));
  outbox.post(entry("4", "a/g"));
  clock.advance(4);
  expect(asked).toEqual([]);
  clock.advance(1);
  await outbox.close();
  expect(asked).toEqual([["1", "2", "3"], ["4"]]);
  expect(added).toEqual([
    ["a/f", "1", "3"],
    ["a/g", "4"],
  ]);
  expect(enqueued).toEqual([["1", "3"], ["4"]]);
});

it("asks nothing for a call that has ended", async () => {
  const { clock, outbox, asked } = setUp();
  outbox.post(entry("1"));
  outbox.ended(ended("1", 1));
  clock.advance(5);
  await outbox.close();
  expect(asked).toEqual([]);
});

it("gives a call that came later its head start too", async () => {
  const { clock, outbox, asked } = setUp();
  outbox.post(entry("1"));
  clock.advance(4);
  outbox.post(entry("2"));
  clock.advance(1);
  expect(asked).toEqual([["1"]]);
  clock.advance(5);
  expect(asked).toEqual([["1"], ["2"]]);
  await outbox.close();
});

it("leaves to the sweeper what the queue did not take, and queues the rest at the end", async () => {
  const { outbox, asked, enqueued } = setUp([], true);
  outbox.post(entry("1"));
  await outbox.close();
  expect(asked).toEqual([["1"]]);
  expect(enqueued).toEqual([]);
});

it("waits longer for runners that are busy, by what calls of the function wait, and not for those that have no slot", async () => {
  expect([undefined, 0.5, 5, 10, 40, 100, 101, 9_000].map(headStartMs)).toEqual([5, 5, 15, 30, 50, 50, 5, 5]);
  const { clock, outbox, asked } = setUp();
  outbox.post(entry("1"));
  outbox.ended(ended("1", 10));
  outbox.post(entry("2"));
  outbox.post(entry("3", "a/g"));
  clock.advance(5);
  expect(asked).toEqual([["3"]]);
  clock.advance(25);
  expect(asked).toEqual([["3"], ["2"]]);
  await outbox.close();
});
