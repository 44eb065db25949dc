/** The promises of StateStore about when an input runs, against a real Redis: later, not too late, once, or again. */
import { describe, expect, test } from "vitest";
import { newId } from "../../core/ids.ts";
import type { NewInvocation } from "../../core/invocation.ts";
import type { QueuedEntry, StateStore } from "../../core/state-store.ts";
import { until } from "../support/redis.ts";
import { freshStates } from "../support/state.ts";

let state: StateStore;
freshStates((fresh) => {
  ({ state } = fresh);
});

const call = (over: Partial<NewInvocation> = {}): NewInvocation => ({
  id: newId("inv"),
  app: "a",
  fn: "f",
  version: "1",
  encoding: "json",
  input: Buffer.from("{}"),
  acceptPickle: false,
  timeoutMs: 1000,
  retries: 0,
  ...over,
});
const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const limits = { outboxAgeMs: -1, leaseMs: 10_000, queuedAgeMs: -1, max: 100 };
const entry = (id: string, generation = 1): QueuedEntry => ({ key: "a/f", id, generation });
const get = async (id: string) => (await state.invocations.get(id))!;
const claim = (id: string, generation = 1) => state.invocations.claim({ id, generation }, owner);
const expired = (id: string) =>
  until(async () => (await state.recovery.release(10)).expired.includes(id), 2_000, "its time in the queue is over");

async function running(over: Partial<NewInvocation> = {}) {
  const { id } = await state.invocations.accept(call(over));
  expect((await claim(id))?.record.state).toBe("running");
  return id;
}

describe("a delayed call", () => {
  test("waits outside the queue until it is due, and is released once however many ask", async () => {
    const { id } = await state.invocations.accept(call({ delayMs: 1_000 }));
    expect(await state.recovery.find(limits)).toEqual({ outbox: [], expired: [], queued: [], idleMaps: [] });
    const { due, nextInMs } = await state.recovery.release(10);
    expect(due).toEqual([]);
    expect(nextInMs).toBeGreaterThan(0);
    expect(nextInMs).toBeLessThanOrEqual(1_000);
    const { createdAt, dueAt } = await get(id);
    expect(dueAt! - createdAt).toBe(1_000);
    const released: unknown[] = [];
    await until(
      async () => {
        const all = await Promise.all([1, 2, 3, 4].map(() => state.recovery.release(10)));
        released.push(...all.flatMap((one) => one.due));
        return released.length > 0 && all.every((one) => one.nextInMs === undefined);
      },
      10_000,
      "it is due",
    );
    expect(released).toEqual([entry(id)]);
    expect((await state.recovery.find(limits)).outbox).toEqual([entry(id)]);
    expect((await claim(id))?.record.state).toBe("running");
  });

  test("keeps its idempotency key", async () => {
    const first = await state.invocations.accept(call({ delayMs: 30_000 }), { key: "k", digest: "d" });
    expect(await state.invocations.accept(call({ delayMs: 5 }), { key: "k", digest: "d" })).toEqual({
      id: first.id,
      created: false,
      mismatch: false,
    });
  });

  test("is told of when it is due earlier than all others", async () => {
    let told = 0;
    await state.hints.onDue(() => told++);
    await state.invocations.accept(call({ delayMs: 30_000 }));
    await state.invocations.accept(call({ delayMs: 40_000 }));
    await state.invocations.accept(call({ delayMs: 10_000 }));
    await until(() => told === 2, 2_000, "the hints arrive");
    expect((await state.recovery.release(10)).nextInMs).toBeLessThanOrEqual(10_000);
    expect(told).toBe(2);
  });
});

describe("a retry that waits", () => {
  test("has a due time and a reason, cannot be claimed, and is cancelled at once", async () => {
    const id = await running();
    expect(await state.invocations.requeue({ id, generation: 1 }, "user", "retry 1 of 3", 60_000)).toBe("delayed");
    const record = await get(id);
    expect(record).toMatchObject({ state: "queued", generation: 2, userFaults: 1, reason: "retry 1 of 3" });
    expect(record.dueAt! - record.createdAt).toBeGreaterThanOrEqual(60_000);
    expect((await state.recovery.find(limits)).queued).toEqual([]);
    expect(await claim(id)).toBeUndefined();
    expect(await state.invocations.cancel(id)).toBe("cancelled");
    expect(await state.recovery.release(10)).toEqual({ due: [], expired: [], nextInMs: undefined });
  });
});

describe("time in the queue", () => {
  test("over, nobody can claim it, and it ends as queue_expired, once", async () => {
    const { id } = await state.invocations.accept(call({ maxQueueMs: 20 }));
    await expired(id);
    expect(await claim(id)).toBeUndefined();
    expect(await Promise.all([1, 2].map(() => state.recovery.endExpired(id)))).toEqual(["ended", "stale"]);
    expect(await get(id)).toMatchObject({ state: "failed", error: { code: "queue_expired", retryable: false } });
    expect(await state.recovery.find(limits)).toEqual({ outbox: [], expired: [], queued: [], idleMaps: [] });
    expect(await state.recovery.release(10)).toEqual({ due: [], expired: [], nextInMs: undefined });
  });

  test("starts when it is due, not when it is accepted", async () => {
    const { id } = await state.invocations.accept(call({ delayMs: 5_000, maxQueueMs: 1_000 }));
    const { createdAt, expiresAt } = await get(id);
    expect(expiresAt! - createdAt).toBe(6_000);
  });

  test("does not matter once it runs; a retry has what was left, from when it is due", async () => {
    const id = await running({ maxQueueMs: 5_000 });
    expect((await state.recovery.release(10)).nextInMs).toBeUndefined();
    const before = await get(id);
    await state.invocations.requeue({ id, generation: 1 }, "user", "retry", 7_000);
    const { expiresAt, dueAt } = await get(id);
    expect(expiresAt! - dueAt!).toBe(before.expiresAt! - before.claimedAt!);
    expect(await state.invocations.cancel(id)).toBe("cancelled");
    expect((await state.recovery.release(10)).nextInMs).toBeUndefined();
  });

  test("is not over before it is: an early look changes nothing", async () => {
    const { id } = await state.invocations.accept(call({ maxQueueMs: 50_000 }));
    expect(await state.recovery.endExpired(id)).toBe("stale");
    expect((await claim(id))?.record.state).toBe("running");
    expect(await state.recovery.endExpired(id)).toBe("stale");
  });
});

describe("a map's inputs", () => {
  const open = async (over: Partial<NewInvocation>) => {
    const { id } = await state.maps.open(call(over));
    const body = Buffer.from("[0]\n[1]\n[2]\n[3]");
    const { entry } = await state.maps.append(id, { first: 0, count: 4, body });
    await state.maps.seal(id);
    return { id, slice: entry! };
  };

  test("that wait too long fail, and leave the others alone", async () => {
    const { id, slice } = await open({ maxQueueMs: 300 });
    const taken = await state.invocations.claim(slice, { ...owner, take: 1 });
    expect(taken?.rest?.count).toBe(3);
    await expired(taken!.rest!.id);
    expect(await state.recovery.endExpired(slice.id)).toBe("stale");
    expect(await state.recovery.endExpired(taken!.rest!.id)).toBe("ended");
    expect((await get(id)).map).toMatchObject({ done: 3, failed: 3 });
    expect((await get(id)).state).toBe("running");
  });

  test("that run at most once fail with their node", async () => {
    const { id, slice } = await open({ atMostOnce: true });
    await state.invocations.claim(slice, { ...owner, leaseMs: 1 });
    const find = () => state.recovery.find({ ...limits, leaseMs: 100 });
    await until(async () => (await find()).expired.length === 1, 2_000, "the lease ends");
    expect(await state.recovery.expire(slice, 3)).toBe("failed");
    expect(await get(id)).toMatchObject({ state: "failed", map: { failed: 4 } });
  });
});

describe("debounced calls", () => {
  const debounced = (over: Partial<NewInvocation> = {}) =>
    state.invocations.accept(call({ delayMs: 60_000, debounceKey: "k", ...over }));

  test("are one invocation, with the last arguments and due time", async () => {
    const first = await debounced({ waiter: "gwy_1" });
    const { dueAt } = await get(first.id);
    const last = call({ delayMs: 90_000, debounceKey: "k", version: "2", input: Buffer.from("[2]"), waiter: "gwy_2" });
    expect(await state.invocations.accept(last)).toEqual({ id: first.id, created: false, replaced: "" });
    const record = await get(first.id);
    expect(record).toMatchObject({ state: "queued", generation: 1, version: "2", attempts: 0 });
    expect(record.input?.toString()).toBe("[2]");
    expect(record.dueAt!).toBeGreaterThanOrEqual(dueAt! + 30_000);
    expect(await get(last.id)).toBeUndefined();
    expect(await state.invocations.list({ limit: 10 })).toHaveLength(1);
    const told: string[] = [];
    await state.hints.onDone("gwy_1", ({ id }) => told.push(id));
    await state.invocations.cancel(first.id);
    await until(() => told.length === 1, 2_000, "who waited for the first call hears of the end");
  });

  test("say where the replaced input is in the bucket, and where theirs is", async () => {
    const first = await debounced({ input: undefined });
    const second = call({ delayMs: 60_000, debounceKey: "k", input: undefined });
    expect(await state.invocations.accept(second)).toMatchObject({ id: first.id, replaced: first.id });
    expect((await get(first.id)).inputFrom).toBe(second.id);
    expect(await debounced()).toMatchObject({ id: first.id, replaced: second.id });
  });

  test("with another key, of another function or method, or after a start are another invocation", async () => {
    const first = await debounced({ delayMs: 1 });
    expect((await debounced({ debounceKey: "other" })).created).toBe(true);
    expect((await debounced({ fn: "g" })).created).toBe(true);
    expect((await debounced({ method: "m" })).created).toBe(true);
    await until(async () => (await state.recovery.release(10)).due.length > 0, 2_000, "it is due");
    expect((await claim(first.id))?.record.state).toBe("running");
    expect((await debounced()).created).toBe(true);
  });

  test("replace one that was due already but has not started; its entry in the queue is stale then", async () => {
    const first = await debounced({ delayMs: 1 });
    await until(async () => (await state.recovery.release(10)).due.length > 0, 2_000, "it is due");
    expect(await debounced()).toMatchObject({ id: first.id, created: false });
    expect(await claim(first.id)).toBeUndefined();
    expect(await state.recovery.find(limits)).toEqual({ outbox: [], expired: [], queued: [], idleMaps: [] });
    expect(await get(first.id)).toMatchObject({ generation: 2, state: "queued" });
  });

  test("made by functions end with none of their callers", async () => {
    const [one, two] = [await running(), await running()];
    const from = (id: string) => ({ id, generation: 1, root: id, depth: 1, awaited: true });
    const first = await debounced({ caller: from(one) });
    expect(await state.invocations.liveChildren(one)).toEqual([first.id]);
    expect(await debounced({ caller: from(two) })).toMatchObject({ id: first.id, created: false });
    expect([await state.invocations.liveChildren(one), await state.invocations.liveChildren(two)]).toEqual([[], []]);
    expect((await get(first.id)).caller).toBeUndefined();
    await expect(debounced({ caller: { ...from(one), generation: 9 } })).rejects.toMatchObject({ code: "cancelled" });
  });

  test("keep an idempotency key each, for the invocation they became", async () => {
    const first = await debounced();
    const twice = () => state.invocations.accept(call({ delayMs: 9, debounceKey: "k" }), { key: "i", digest: "d" });
    expect(await twice()).toMatchObject({ id: first.id, replaced: "" });
    expect(await twice()).toEqual({ id: first.id, created: false, mismatch: false });
  });
});

describe("at most once", () => {
  test("an attempt whose node is lost fails at once", async () => {
    const { id } = await state.invocations.accept(call({ atMostOnce: true }));
    await state.invocations.claim({ id, generation: 1 }, { ...owner, leaseMs: 1 });
    const find = () => state.recovery.find({ ...limits, leaseMs: 100 });
    await until(async () => (await find()).expired.length === 1, 2_000, "the lease ends");
    expect(await state.recovery.expire({ id, generation: 1 }, 3)).toBe("failed");
    expect(await get(id)).toMatchObject({ state: "failed", error: { code: "node_lost" }, platformFaults: 1 });
  });
});

describe("what failed", () => {
  const error = { code: "exception", message: "no", retryable: false, fault: "user" } as const;
  const fails = async (over: Partial<NewInvocation> = {}) => {
    const id = await running(over);
    await state.invocations.finish({ id, generation: 1 }, { state: "failed", error }, {});
    return id;
  };

  test("is listed by state, app, function and time, newest first, with its input", async () => {
    const first = await fails();
    const other = await fails({ app: "b" });
    const second = await fails({ fn: "g" });
    await running();
    const ids = async (filter: object) =>
      (await state.invocations.list({ limit: 10, state: "failed", ...filter })).map(({ id }) => id);
    expect(new Set(await ids({}))).toEqual(new Set([second, other, first]));
    expect(await ids({ app: "a", fn: "f" })).toEqual([first]);
    expect(await ids({ since: Date.now() + 60_000 })).toEqual([]);
    expect(await ids({ since: Date.now() - 60_000, app: "b" })).toEqual([other]);
    expect(await state.invocations.list({ state: "running", limit: 10 })).toHaveLength(1);
    expect((await get(first)).input?.toString()).toBe("{}");
  });

  test("has one successor, however many redrive it", async () => {
    const id = await fails();
    const again = () => state.invocations.accept(call({ redrivenFrom: id }));
    const made = await Promise.all([again(), again(), again()]);
    expect(made.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(made.map((one) => one.id)).size).toBe(1);
    expect(made.every((one) => !one.mismatch)).toBe(true);
    expect((await get(id)).redrivenAs).toBe(made[0]!.id);
    expect(await get(made[0]!.id)).toMatchObject({ redrivenFrom: id, state: "queued", generation: 1 });
    expect((await claim(made[0]!.id))?.record.state).toBe("running");
  });
});
