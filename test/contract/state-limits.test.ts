/** The promises of StateStore about limits of functions, against a real Redis: so many at a time of a key, so many in a time. */
import { describe, expect, test } from "vitest";
import { newId } from "../../core/ids.ts";
import type { NewInvocation } from "../../core/invocation.ts";
import type { StateStore } from "../../core/state-store.ts";
import { until } from "../support/redis.ts";
import { freshStates } from "../support/state.ts";

let state: StateStore;
freshStates((fresh) => {
  ({ state } = fresh);
});

const call = (over: Partial<NewInvocation> = {}): NewInvocation => ({
  ...{ id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json", input: Buffer.from("{}") },
  ...{ acceptPickle: false, timeoutMs: 1000, retries: 0 },
  ...over,
});
const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const limits = { outboxAgeMs: -1, leaseMs: 10_000, queuedAgeMs: -1, max: 100 };
const get = async (id: string) => (await state.invocations.get(id))!;
const accept = async (over: Partial<NewInvocation>) => (await state.invocations.accept(call(over))).id;
const claim = (id: string, generation = 1, take?: number) =>
  state.invocations.claim({ id, generation }, { ...owner, take });
const succeed = (id: string, generation = 1) =>
  state.invocations.finish(
    { id, generation },
    { state: "succeeded", result: { encoding: "json", size: 1, inline: Buffer.from("1") } },
    {},
  );
const dueNow = async () => (await state.recovery.release(10)).due;

describe("a key with one place", () => {
  const KEYED = { key: "user-1", keyLimit: 1 };
  async function oneRunsOneWaits() {
    const first = await accept(KEYED);
    const second = await accept(KEYED);
    expect((await claim(first))?.record).toMatchObject({ state: "running", key: "user-1" });
    expect(await claim(second)).toBeUndefined();
    return { first, second };
  }

  test("parks the second, outside queue and outbox, and says why; other keys run", async () => {
    const { second } = await oneRunsOneWaits();
    const reason = "waiting for key user-1: 1 of 1 running";
    expect(await get(second)).toMatchObject({ state: "queued", generation: 2, attempts: 0, isParked: true, reason });
    expect(await state.recovery.find(limits)).toEqual({ outbox: [], expired: [], queued: [], idleMaps: [] });
    expect(await dueNow()).toEqual([]);
    expect(await claim(await accept({ key: "user-2", keyLimit: 1 }))).toBeDefined();
    expect(await claim(await accept({}))).toBeDefined();
  });

  test("lets the oldest go when the running one ends, once", async () => {
    const { first, second } = await oneRunsOneWaits();
    const third = await accept(KEYED);
    expect(await claim(third)).toBeUndefined();
    expect(await succeed(first)).toBe("finished");
    expect(await succeed(first)).toBe("stale");
    expect(await dueNow()).toEqual([{ key: "a/f", id: second, generation: 2 }]);
    expect((await get(second)).isParked).toBe(false);
    expect(await claim(second, 2)).toBeDefined();
    expect((await get(third)).isParked).toBe(true);
  });

  test("gives the place on when an attempt is given back, and takes the one given back in its turn", async () => {
    const { first, second } = await oneRunsOneWaits();
    await state.invocations.requeue({ id: first, generation: 1 }, "none", "given back");
    expect(await dueNow()).toEqual([{ key: "a/f", id: second, generation: 2 }]);
    expect(await claim(second, 2)).toBeDefined();
    expect(await claim(first, 2)).toBeUndefined();
    await succeed(second, 2);
    expect(await dueNow()).toEqual([{ key: "a/f", id: first, generation: 3 }]);
  });

  test("gives the place on when a lease ends", async () => {
    const first = await accept({ ...KEYED, retries: 0, atMostOnce: true });
    const second = await accept(KEYED);
    await state.invocations.claim({ id: first, generation: 1 }, { ...owner, leaseMs: 300 });
    expect(await claim(second)).toBeUndefined();
    const brief = { ...limits, leaseMs: 300, queuedAgeMs: 60_000 };
    await until(
      async () => {
        const { expired } = await state.recovery.find(brief);
        return expired.length > 0 && (await state.recovery.expire(expired[0]!, 3)) === "failed";
      },
      5_000,
      "its lease ends",
    );
    expect(await dueNow()).toEqual([{ key: "a/f", id: second, generation: 2 }]);
  });

  test("forgets what is cancelled or expires while it is parked", async () => {
    const { first, second } = await oneRunsOneWaits();
    const late = await accept({ ...KEYED, maxQueueMs: 1 });
    await claim(late);
    expect(await state.invocations.cancel(second)).toBe("cancelled");
    await until(async () => (await state.recovery.endExpired(late)) === "ended", 2_000, "it expires");
    await dueNow();
    await succeed(first);
    expect(await dueNow()).toEqual([]);
    expect(await claim(await accept(KEYED))).toBeDefined();
  });

  test("is repaired by a look when nobody gives its place on", async () => {
    const { first, second } = await oneRunsOneWaits();
    const third = await accept(KEYED);
    await claim(third);
    await succeed(first);
    expect((await dueNow()).map(({ id }) => id)).toEqual([second]);
    await state.recovery.find(limits);
    expect((await dueNow()).map(({ id }) => id)).toEqual([third]);
    expect(await claim(third, 2)).toBeDefined();
    expect(await claim(second, 2)).toBeUndefined();
    await state.recovery.find(limits);
    expect(await dueNow()).toEqual([]);
  });
});

test("a map with a key runs one slice at a time, and all of it", async () => {
  const { id } = await state.maps.open(call({ input: undefined, key: "u", keyLimit: 1 }));
  const { entry } = await state.maps.append(id, { first: 0, count: 4, body: Buffer.from("[]\n".repeat(4)) });
  await state.maps.seal(id);
  const first = (await claim(entry!.id, 1, 2))!;
  expect(await claim(first.rest!.id, 1, 2)).toBeUndefined();
  expect(await dueNow()).toEqual([]);
  const done = { succeeded: 2, failed: 0, again: [] };
  expect(await state.maps.finish({ id: entry!.id, generation: 1 }, done)).toEqual({ entries: [] });
  expect(await dueNow()).toMatchObject([{ id: first.rest!.id, generation: 2 }]);
  expect((await claim(first.rest!.id, 2, 2))?.record.slice).toMatchObject({ first: 2, count: 2 });
});

test("what a limit keeps from its head start leaves its entry to the call that gave its own away", async () => {
  const claimAs = (id: string, generation = 1) =>
    state.invocations.claim({ id, generation }, { ...owner, key: "a/f" }).then((one) => one?.record.id);
  const holder = await accept({ key: "u", keyLimit: 1 });
  expect(await claimAs(holder)).toBe(holder);
  const plain = await accept({});
  const ahead = await accept({ key: "u", keyLimit: 1, priority: 30 });
  expect(await claimAs(plain)).toBeUndefined();
  expect(await get(ahead)).toMatchObject({ isParked: true, generation: 2 });
  expect(await claimAs(ahead)).toBe(plain);
  await succeed(holder);
  expect(await dueNow()).toEqual([{ key: "a/f", id: ahead, generation: 2 }]);
  expect(await claimAs(ahead, 2)).toBe(ahead);
});

describe("a rate", () => {
  test("lets a full bucket start at once, and the others in their order, each at its token's time", async () => {
    const ids = await Promise.all([1, 2, 3, 4].map(() => accept({ rate: "2/m" })));
    const claims = [];
    for (const id of ids) claims.push(await claim(id));
    expect(claims.map((one) => one !== undefined)).toEqual([true, true, false, false]);
    const [third, fourth] = await Promise.all([get(ids[2]!), get(ids[3]!)]);
    expect(third).toMatchObject({ state: "queued", generation: 2, reason: "rate limit 2/m" });
    expect(Math.abs(fourth.dueAt! - third.dueAt! - 30_000)).toBeLessThanOrEqual(1);
    expect((await state.recovery.find(limits)).queued).toEqual([]);
    expect(await claim(await accept({ fn: "g", rate: "2/m" }))).toBeDefined();
  });

  test("keeps the token of what waits for it, and of what never reached a container", async () => {
    await claim(await accept({ rate: "10/s" }));
    const ids = await Promise.all(Array.from({ length: 11 }, () => accept({ rate: "10/s" })));
    for (const id of ids) await claim(id);
    const waiting = (await Promise.all(ids.map(get))).filter(({ state }) => state === "queued");
    expect(waiting.length).toBeGreaterThan(0);
    const { id } = waiting[0]!;
    await until(async () => (await dueNow()).some((one) => one.id === id), 5_000, "it is due");
    expect(await claim(id, 2)).toBeDefined();
    await state.invocations.requeue({ id, generation: 2 }, "none", "no slot after all");
    expect(await claim(id, 3)).toBeDefined();
  });

  test("takes of a map's slice as many inputs as there are tokens, and the others later", async () => {
    const { id } = await state.maps.open(call({ input: undefined, rate: "3/m" }));
    const { entry } = await state.maps.append(id, { first: 0, count: 10, body: Buffer.from("[]\n".repeat(10)) });
    const claimed = await claim(entry!.id, 1, 8);
    expect(claimed).toMatchObject({ record: { slice: { count: 3 } }, rest: { count: 7 } });
    expect(await claim(claimed!.rest!.id, 1, 8)).toBeUndefined();
    expect(await get(claimed!.rest!.id)).toMatchObject({ state: "queued", reason: "rate limit 3/m" });
  });
});
