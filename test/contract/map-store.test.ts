/** The promises of MapStore, against a real Redis. */
import { describe, expect, test } from "vitest";
import { newId } from "../../core/ids.ts";
import { decodeBlock, encodeBlock } from "../../core/map.ts";
import type { Attempt, StateStore } from "../../core/state-store.ts";
import { until } from "../support/redis.ts";
import { freshStates } from "../support/state.ts";

let state: StateStore;
freshStates((fresh) => {
  ({ state } = fresh);
});

const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const call = (id = newId("inv")) => ({
  id,
  app: "a",
  fn: "f",
  version: "1",
  acceptPickle: false,
  timeoutMs: 1000,
  retries: 1,
});
const page = (count: number, first = 0) => ({
  first,
  count,
  body: Buffer.from(Array.from({ length: count }, (_, i) => `[${first + i}]`).join("\n")),
});
const nothing = { succeeded: 0, failed: 0, again: [] };

async function mapOf(count: number) {
  const { id } = await state.maps.open(call());
  const { entry } = await state.maps.append(id, page(count));
  return { id, entry: entry! };
}

const counts = async (id: string) => (await state.invocations.get(id))?.map;
const block = (first: number, count: number) => encodeBlock({ first, count }, Buffer.from("x\n"));

async function take(entry: Attempt, inputs?: number) {
  const claim = await state.invocations.claim(entry, { ...owner, take: inputs });
  return { attempt: { id: claim!.record.id, generation: claim!.record.generation }, ...claim! };
}

describe("appending", () => {
  test("stores pages in order, each as a queued slice, and the same page once", async () => {
    const { id, entry } = await mapOf(3);
    expect(entry).toMatchObject({ key: "a/f", generation: 1 });
    expect(await state.maps.append(id, page(3))).toEqual({ inlineBytes: 11 });
    expect(await state.maps.append(id, page(2, 3))).toMatchObject({ entry: { generation: 1 }, inlineBytes: 18 });
    await expect(state.maps.append(id, page(1, 9))).rejects.toMatchObject({ code: "map_gap", details: { next: 5 } });
    expect(await counts(id)).toMatchObject({ total: 5, done: 0, sealed: false, inlineBytes: 18 });
    expect((await state.maps.page(id, 3))?.toString()).toBe("[3]\n[4]");
    await state.maps.seal(id);
    await expect(state.maps.append(id, page(1, 5))).rejects.toMatchObject({ code: "map_sealed" });
  });

  test("in the background marks the entries of all its slices", async () => {
    const { id } = await state.maps.open({ ...call(), priority: -60 });
    const { entry } = await state.maps.append(id, page(6));
    expect(entry).toMatchObject({ behind: true });
    const first = await take(entry!, 4);
    expect(first.rest).toMatchObject({ count: 2, behind: true });
    expect(await state.maps.split(first.attempt, 3)).toMatchObject({ behind: true });
    const again = [{ first: 1, count: 2, charge: "none" as const, solo: false, delayMs: 0, why: "again" }];
    const outcome = { block: block(0, 1), succeeded: 1, failed: 0, again };
    expect(await state.maps.finish(first.attempt, outcome)).toMatchObject({ entries: [{ behind: true }] });
  });

  test("is refused while as many of its inputs wait as may, and what is stored already is not", async () => {
    const { id, entry } = await mapOf(3);
    const more = { ...page(1, 3), maxWaiting: 3 };
    await expect(state.maps.append(id, more)).rejects.toMatchObject({ code: "queue_full" });
    expect(await state.maps.append(id, { ...page(3), maxWaiting: 3 })).toEqual({ inlineBytes: 11 });
    const { attempt } = await take(entry!, 1);
    await state.maps.finish(attempt, { block: block(0, 1), succeeded: 1, failed: 0, again: [] });
    expect(await state.maps.append(id, more)).toMatchObject({ entry: { generation: 1 } });
  });

  test("to what does not exist, or has ended, is refused", async () => {
    await expect(state.maps.append(newId("inv"), page(1))).rejects.toMatchObject({ code: "invocation_not_found" });
    const { id } = await mapOf(1);
    await state.invocations.cancel(id);
    await expect(state.maps.append(id, page(1, 1))).rejects.toMatchObject({ code: "invocation_ended" });
  });

  test("an empty map ends when it is sealed", async () => {
    const { id } = await state.maps.open(call());
    await state.maps.seal(id);
    expect(await state.invocations.get(id)).toMatchObject({ state: "succeeded" });
  });

  test("a repeated key opens no second map", async () => {
    const first = await state.maps.open(call(), { key: "k", digest: "d" });
    expect(await state.maps.open(call(), { key: "k", digest: "d" })).toMatchObject({ id: first.id, created: false });
  });
});

describe("slices", () => {
  test("a claim takes so many inputs and queues the others again", async () => {
    const { entry } = await mapOf(10);
    const { record, rest } = await take(entry, 4);
    expect(record.slice).toMatchObject({ first: 0, count: 4, page: 0, solo: false });
    expect(rest).toMatchObject({ key: "a/f", generation: 1, count: 6 });
    const second = await take(rest!, 100);
    expect(second.record.slice).toMatchObject({ first: 4, count: 6 });
    expect(second.rest).toBeUndefined();
    expect(await state.invocations.claim(entry, owner)).toBeUndefined();
  });

  test("what is split off a running slice is queued, once", async () => {
    const { entry } = await mapOf(10);
    const { attempt } = await take(entry);
    const rest = await state.maps.split(attempt, 3);
    expect((await take(rest!)).record.slice).toMatchObject({ first: 3, count: 7 });
    expect(await state.maps.split(attempt, 3)).toBeUndefined();
    expect(await state.maps.split({ ...attempt, generation: 9 }, 1)).toBeUndefined();
  });

  test("blocks are kept in order, the map ends with its last input, and pages go when their inputs succeeded", async () => {
    const { id, entry } = await mapOf(4);
    const told: string[] = [];
    await state.maps.onBlock(id, () => told.push("block"));
    const first = await take(entry, 3);
    const second = await take(first.rest!);
    await state.maps.finish(second.attempt, { ...nothing, block: block(3, 1), succeeded: 1 });
    expect(await state.maps.finish(second.attempt, { ...nothing, block: block(3, 1), succeeded: 1 })).toBe("stale");
    await state.maps.seal(id);
    expect(await state.invocations.get(id)).toMatchObject({ state: "running", map: { done: 1 } });
    await state.maps.finish(first.attempt, { ...nothing, block: block(0, 3), succeeded: 3 });
    expect(await state.invocations.get(id)).toMatchObject({ state: "succeeded", map: { done: 4, inlineBytes: 0 } });
    const heads = (await state.maps.blocks(id, 0, 10)).map((one) => decodeBlock(one).head.first);
    expect(heads).toEqual([3, 0]);
    expect(await state.maps.blocks(id, 1, 10)).toHaveLength(1);
    expect(await state.maps.page(id, 0)).toBeUndefined();
    await until(() => told.length >= 2, 2_000, "readers hear of blocks");
    expect((await state.recovery.find({ outboxAgeMs: -1, leaseMs: 1, queuedAgeMs: -1, max: 9 })).queued).toEqual([]);
  });

  test("what fails with a try left runs again as a slice that remembers it; what has none fails the map", async () => {
    const { id, entry } = await mapOf(5);
    await state.maps.seal(id);
    const { attempt } = await take(entry);
    const again = [{ first: 1, count: 2, charge: "user", solo: true, delayMs: 0, why: "ValueError" }] as const;
    const done = await state.maps.finish(attempt, { block: block(0, 1), succeeded: 2, failed: 1, again: [...again] });
    const [retry] = (done as { entries: Attempt[] }).entries;
    const alone = await take(retry!, 100);
    expect(alone.record).toMatchObject({ userFaults: 1, slice: { first: 1, count: 1, solo: true } });
    const last = await take(alone.rest!);
    for (const { attempt: one, record } of [alone, last])
      await state.maps.finish(one, { ...nothing, block: block(record.slice!.first, 1), succeeded: 1 });
    expect(await state.invocations.get(id)).toMatchObject({
      state: "failed",
      error: { code: "inputs_failed", fault: "user" },
      map: { done: 5, failed: 1 },
    });
    // for whoever runs the failed ones again
    expect(await state.maps.page(id, 0)).toBeDefined();
  });

  test("a slice that is lost too often leaves its error to all its inputs", async () => {
    const { id, entry } = await mapOf(3);
    await state.maps.seal(id);
    let attempt: Attempt = entry;
    for (let lost = 1; lost <= 2; lost++) {
      await state.invocations.claim(attempt, { ...owner, leaseMs: 1 });
      const look = () => state.recovery.find({ outboxAgeMs: -1, leaseMs: 150, queuedAgeMs: -1, max: 10 });
      await until(async () => (await look()).expired.length === 1, 2_000, "the lease ends");
      const next = await state.recovery.expire(attempt, 1);
      if (lost === 2) expect(next).toBe("failed");
      else attempt = next as Attempt;
    }
    const { head } = decodeBlock((await state.maps.blocks(id, 0, 1))[0]!);
    expect(head).toMatchObject({ first: 0, count: 3, error: { code: "node_lost" } });
    expect(await state.invocations.get(id)).toMatchObject({ state: "failed", map: { failed: 3 } });
  });
});

describe("cancelling", () => {
  test("ends what a running slice gives back meanwhile", async () => {
    const { id, entry } = await mapOf(10);
    const { attempt } = await take(entry);
    await state.invocations.cancel(id);
    expect(await state.maps.split(attempt, 4)).toBeUndefined();
    const again = [{ first: 2, count: 2, charge: "none", solo: false, delayMs: 0, why: "" }] as const;
    await state.maps.finish(attempt, { block: block(0, 2), succeeded: 2, failed: 0, again: [...again] });
    expect(await state.invocations.get(id)).toMatchObject({ state: "cancelled", map: { done: 10, failed: 8 } });
    const { queued } = await state.recovery.find({ outboxAgeMs: -1, leaseMs: 1, queuedAgeMs: -1, max: 9 });
    expect(queued).toEqual([]);
  });

  test("ends queued slices at once and tells the runners of running ones", async () => {
    const { id, entry } = await mapOf(10);
    const { attempt, rest } = await take(entry, 2);
    const told: Attempt[] = [];
    await state.hints.onCancel("run_1", (one) => told.push(one));
    expect(await state.invocations.cancel(id)).toBe("cancelling");
    expect(await state.invocations.claim(rest!, owner)).toBeUndefined();
    await until(() => told.length === 1, 2_000, "the runner is told");
    expect(told).toEqual([attempt]);
    const again = [{ first: 1, count: 1, charge: "none", solo: false, delayMs: 0, why: "" }] as const;
    await state.maps.finish(attempt, { block: block(0, 1), succeeded: 1, failed: 0, again: [...again] });
    expect(await state.invocations.get(id)).toMatchObject({ state: "cancelled", map: { done: 10, failed: 9 } });
    const heads = (await state.maps.blocks(id, 0, 10)).map((one) => decodeBlock(one).head);
    expect(heads.map(({ first, count, error }) => [first, count, error?.code])).toEqual([
      [2, 8, "cancelled"],
      [0, 1, undefined],
      [1, 1, "cancelled"],
    ]);
    expect(await state.invocations.cancel(id)).toBe("ended");
  });
});
