/** When the releaser looks: at the next due moment, at a hint, at least once a second, less often while it fails. */
import { pino } from "pino";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import type { QueuedEntry } from "../../../core/state-store.ts";
import { keepReleasing, pauseMs } from "../../../gateway/release.ts";

it("pauses until the next moment, a second at most, longer while it fails", () => {
  expect([pauseMs(20, 0), pauseMs(undefined, 0), pauseMs(9_000, 0), pauseMs(20, 2), pauseMs(20, 20)]).toEqual([
    20, 1_000, 1_000, 4_000, 15_000,
  ]);
});

it("puts what is due into the queue, and follows hints of something earlier", async () => {
  const clock = manualClock();
  const waiting: { at: number; entry: QueuedEntry }[] = [];
  const added: Record<string, number> = {};
  let hint = (): void => {};
  const state = {
    hints: {
      async onDue(listener: () => void) {
        hint = listener;
        return () => {};
      },
    },
    invocations: { enqueued: async () => {} },
    recovery: {
      async release() {
        const due = waiting.filter(({ at }) => at <= clock.now());
        for (const one of due) waiting.splice(waiting.indexOf(one), 1);
        const next = Math.min(...waiting.map(({ at }) => at - clock.now()));
        return { due: due.map(({ entry }) => entry), expired: [], nextInMs: Number.isFinite(next) ? next : undefined };
      },
    },
  };
  const queue = {
    async add(_key: string, { id }: { id: string }) {
      added[id] = clock.now();
    },
  };
  const wait = (at: number, id: string) => waiting.push({ at, entry: { key: "a/f", id, generation: 1 } });
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  wait(300, "later");
  const stop = await keepReleasing({ state, queue, clock, log: pino({ level: "silent" }) } as never);
  for (let ms = 0; ms < 400; ms++) {
    if (ms === 50) {
      wait(100, "sooner");
      hint();
    }
    clock.advance(1);
    await settle();
  }
  await stop();
  // The clock stands still while something is looked up, so a step may come between.
  expect(added).toEqual({ sooner: expect.closeTo(100, -1), later: expect.closeTo(300, -1) });
});
