/** How long an attempt waits for storage that is away, and how what breaks off goes on. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pino } from "pino";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import { type ErrorBody, fail } from "../../../core/errors.ts";
import { untilDone } from "../../../core/until-done.ts";
import { createPatience } from "../../../runner/patience.ts";
import { steady } from "../../../runner/steady.ts";

function patience() {
  const clock = manualClock();
  const told: (string | undefined)[] = [];
  const givenUp: ErrorBody[] = [];
  let isRunning = true;
  const { lasting } = createPatience({
    ...{ clock, log: pino({ level: "silent" }), patienceMs: 60_000, isRunning: () => isRunning },
    tell: async (awaits) => void told.push(awaits),
    giveUp: (error) => void givenUp.push(error),
  });
  return { lasting, clock, told, givenUp, end: () => (isRunning = false) };
}
const away = () => fail("storage_unavailable", "nobody listens");

it("says what it waits for until it is done", async () => {
  const { lasting, told, givenUp } = patience();
  let tries = 0;
  expect(await lasting(async () => (tries++ < 2 ? away() : tries))).toBe(3);
  expect(told).toEqual(["its checkpoint waits for storage, up to 60 s: nobody listens", undefined]);
  expect(givenUp).toEqual([]);
});

it("ends the attempt as a fault of the platform once it has waited too long, and waits for none that has ended", async () => {
  const one = patience();
  const tooLong = one.lasting(async () => {
    await one.clock.advance(31_000);
    return away();
  });
  await expect(tooLong).rejects.toMatchObject({ code: "storage_unavailable" });
  expect(one.givenUp).toMatchObject([{ code: "storage_unavailable", fault: "platform", retryable: true }]);
  expect(one.told.at(-1)).toBeUndefined();
  const ended = patience();
  ended.end();
  await expect(ended.lasting(async () => away())).rejects.toMatchObject({ code: "storage_unavailable" });
  expect(ended.givenUp).toEqual([]);
});

it("leaves what is no outage as it is", async () => {
  const { lasting, told } = patience();
  await expect(lasting(async () => fail("checkpoint_exists", "there"))).rejects.toMatchObject({
    code: "checkpoint_exists",
  });
  expect(told).toEqual([]);
});

it("reads on where a body broke off", async () => {
  const whole = Buffer.from("0123456789");
  const opened: number[] = [];
  const open = async (from: number): Promise<Readable> => {
    opened.push(from);
    if (opened.length === 2) away();
    const some = whole.subarray(from, from + 4);
    return Readable.from(
      (async function* () {
        yield some;
        if (from + 4 < whole.length) throw new Error("reset");
      })(),
    );
  };
  const read = await buffer(steady(whole.length, open, { lasting: (act) => untilDone(act) }));
  expect(read.toString()).toBe("0123456789");
  expect(opened).toEqual([0, 4, 4, 8]);
});
