/** The promises of ChunkStore, against a real Redis: order, fencing, repeats, what readers get from any position. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodeBatch } from "../../core/chunks.ts";
import { newId } from "../../core/ids.ts";
import type { Attempt, StateStore } from "../../core/state-store.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";
import { connectState } from "../support/state.ts";

let redis: TestRedis;
let state: StateStore;

beforeAll(async () => {
  redis = await startRedis();
  state = await connectState({ url: redis.url, prefix: "t", recordTtlSeconds: 60 });
});
afterAll(async () => {
  await state.close();
  await redis.close();
});

let me: Attempt;
const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const ok = { state: "succeeded", result: { encoding: "json", size: 1, inline: Buffer.from("1") } } as const;

async function running(): Promise<Attempt> {
  const call = { id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json" as const, acceptPickle: false };
  const { id } = await state.invocations.accept({ ...call, input: Buffer.from("{}"), timeoutMs: 1000, retries: 0 });
  await state.invocations.claim({ id, generation: 1 }, owner);
  return { id, generation: 1 };
}
beforeEach(async () => {
  me = await running();
});

async function again(attempt: Attempt): Promise<Attempt> {
  const next = await state.invocations.requeue(attempt, "user", "again");
  if (typeof next === "string") throw new Error(next);
  await state.invocations.claim(next, owner);
  return { id: next.id, generation: next.generation };
}

const batch = (first: number, count: number) => ({
  ...{ first, count },
  data: encodeBatch(
    Array.from({ length: count }, (_, i) => ({ encoding: "json", body: Buffer.from(String(first + i)) })),
  ),
});
const follow = (next: number, bytes = 1e6, generation = 1) => state.chunks.follow(me.id, { generation, next }, bytes);
const firsts = async (next: number, bytes?: number) => (await follow(next, bytes))!.batches.map(({ first }) => first);

describe("append", () => {
  test("takes the next batch once, and answers how far it is to everybody else", async () => {
    const first = await state.chunks.append(me, batch(0, 3));
    expect(first).toMatchObject({ next: 3, tailFirst: 0 });
    expect(await state.chunks.append(me, batch(0, 3))).toEqual(first);
    expect(await state.chunks.append(me, batch(7, 1))).toEqual(first);
    expect(await state.chunks.append(me, batch(3, 1))).toMatchObject({ next: 4 });
    expect(await state.chunks.tail(me.id)).toHaveLength(2);
  });

  test("is refused to an attempt that is not the owner, and changes nothing then", async () => {
    const second = await again(me);
    expect(await state.chunks.append(me, batch(0, 1))).toBe("stale");
    expect(await state.chunks.append(second, batch(0, 1))).toMatchObject({ next: 1 });
    await state.invocations.finish(second, ok, {});
    expect(await state.chunks.append(second, batch(1, 1))).toBe("stale");
    expect(await state.chunks.append({ id: newId("inv"), generation: 1 }, batch(0, 1))).toBe("stale");
    expect((await follow(0, 1e6, 2))!.chunks).toEqual({ generation: 2, count: 1 });
  });

  test("of a new generation replaces what the one before yielded, which is there until then", async () => {
    const extent = await state.chunks.append(me, batch(0, 3));
    if (extent === "stale") throw new Error(extent);
    await state.chunks.spill(me, extent, { count: 3, key: "segment" });
    await state.chunks.append(me, batch(3, 1));
    const second = await again(me);
    expect(await firsts(0)).toEqual([0]);
    expect(await firsts(3)).toEqual([3]);
    await state.chunks.append(second, batch(0, 1));
    expect(await follow(0)).toMatchObject({ chunks: { generation: 2, count: 1 }, batches: [] });
    expect((await follow(0, 1e6, 2))!.batches).toHaveLength(1);
  });
});

describe("spill", () => {
  test("moves the tail that it was made from, and no other", async () => {
    const before = await state.chunks.append(me, batch(0, 3));
    const after = await state.chunks.append(me, batch(3, 2));
    if (before === "stale" || after === "stale") throw new Error("stale");
    expect(await state.chunks.spill(me, before, { count: 3, key: "late" })).toEqual(after);
    expect(await state.chunks.spill(me, after, { count: 9, key: "k" })).toEqual({
      next: 9,
      tailFirst: 9,
      tailBytes: 0,
    });
    expect(await state.chunks.tail(me.id)).toEqual([]);
    expect((await follow(4))!.batches).toEqual([{ first: 0, count: 9, key: "k" }]);
    expect(await state.chunks.append(me, batch(9, 1))).toMatchObject({ next: 10, tailFirst: 9 });
  });

  test("after the end only gives memory back: it adds no chunks", async () => {
    const extent = await state.chunks.append(me, batch(0, 3));
    if (extent === "stale") throw new Error(extent);
    await state.invocations.finish(me, ok, {});
    expect(await state.chunks.spill(me, extent, { count: 4, key: "more" })).toMatchObject({ next: 3, tailFirst: 0 });
    expect(await state.chunks.spill(me, extent, { count: 3, key: "k" })).toMatchObject({ next: 3, tailFirst: 3 });
    expect(await follow(0)).toMatchObject({ state: "succeeded", batches: [{ key: "k" }] });
  });
});

describe("follow", () => {
  test("finds any position among segments and tail, a bounded piece at a time", async () => {
    for (let first = 0; first < 40; first += 10) {
      const extent = await state.chunks.append(me, batch(first, 10));
      if (first === 10 && extent !== "stale") await state.chunks.spill(me, extent, { count: 20, key: "s" });
    }
    for (const [next, found] of [
      [0, [0]],
      [19, [0]],
      [20, [20, 30]],
      [29, [20, 30]],
      [30, [30]],
      [40, []],
    ] as const)
      expect(await firsts(next)).toEqual(found);
    expect(await firsts(20, 1)).toEqual([20]);
  });

  test("hints at every change from then on, and knows no other records", async () => {
    expect(await state.chunks.follow(newId("inv"), { generation: 1, next: 0 }, 1)).toBeUndefined();
    let hints = 0;
    const stop = await state.hints.onChange(me.id, () => hints++);
    await state.chunks.append(me, batch(0, 1));
    expect(await follow(0)).toMatchObject({ state: "running", generation: 1, chunks: { count: 1 } });
    await state.chunks.append(me, batch(1, 1));
    const second = await again(me);
    await state.invocations.finish(second, ok, {});
    // Of the append, the requeue, the claim and the end; what went before the first look is told to nobody.
    await until(() => hints === 4, 5_000, "four hints");
    stop();
  });
});
