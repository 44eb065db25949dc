/** The end of a turn: what waits for it happens in order, together, and also when it is asked for there. */
import { expect, it } from "vitest";
import { together } from "../../../core/redis/together.ts";
import { atTurnEnd } from "../../../core/turn.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

it("does everything in order, what is asked for at the end included", async () => {
  const done: string[] = [];
  atTurnEnd(() => {
    done.push("1");
    atTurnEnd(() => done.push("3"));
  });
  atTurnEnd(() => done.push("2"));
  await Promise.resolve();
  expect(done).toEqual([]);
  await turn();
  expect(done).toEqual(["1", "2", "3"]);
});

it("asks once for all of a turn, and gives each its own answer or error", async () => {
  const asked: number[][] = [];
  const double = together(async (all: number[]) => {
    asked.push(all);
    return all.map(async (one) => {
      if (one === 2) throw new Error("no two");
      return one * 2;
    });
  });
  const settled = await Promise.allSettled([double(1), double(2), double(3)]);
  expect(settled).toMatchObject([{ value: 2 }, { reason: { message: "no two" } }, { value: 6 }]);
  expect(await double(4)).toBe(8);
  expect(asked).toEqual([[1, 2, 3], [4]]);
});

it("bounds what is asked at once, and tells all when nothing was answered", async () => {
  const sizes: number[] = [];
  const refuse = together(async (all: number[]): Promise<Promise<number>[]> => {
    sizes.push(all.length);
    throw new Error("away");
  });
  const settled = await Promise.allSettled(Array.from({ length: 100 }, (_, i) => refuse(i)));
  expect(settled.every(({ status }) => status === "rejected")).toBe(true);
  expect(sizes).toEqual([64, 36]);
});
