/** The promises of StateStore about head starts, against a real Redis: who is claimed first, and that nobody is left behind. */
import { expect, test } from "vitest";
import { newId } from "../../core/ids.ts";
import type { NewInvocation } from "../../core/invocation.ts";
import type { QueuedEntry, StateStore } from "../../core/state-store.ts";
import { createClaims } from "../../runner/claim.ts";
import type { NodeIdentity } from "../../runner/container-plan.ts";
import { type TestRedis, until } from "../support/redis.ts";
import { connectState, freshStates } from "../support/state.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

let redis: TestRedis;
let state: StateStore;
let prefix: string;
freshStates((fresh) => {
  ({ redis, state, prefix } = fresh);
});

const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000, key: "a/f" } as const;
const look = { outboxAgeMs: -1, leaseMs: 10_000, queuedAgeMs: -1, max: 100 };
const entry = (id: string, generation = 1): QueuedEntry => ({ key: "a/f", id, generation });

/** Accepted, each in a millisecond of its own, and in its queue unless it is to be offered only. */
async function accept(over: Partial<NewInvocation> = {}, { queued = true } = {}): Promise<string> {
  const call: NewInvocation = {
    ...{ id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json", input: Buffer.from("{}") },
    ...{ acceptPickle: false, timeoutMs: 1_000, retries: 0, ...over },
  };
  const { id } = await state.invocations.accept(call);
  const { createdAt } = (await state.invocations.get(id))!;
  await until(async () => Date.now() > createdAt, 1_000, "the next millisecond");
  if (queued) await state.invocations.enqueued({ ...entry(id), behind: (over.priority ?? 0) < 0 });
  return id;
}
const claim = async (id: string, generation = 1, token?: string) =>
  (await state.invocations.claim({ id, generation }, { ...owner, token }))?.record.id;

/** As runners take the entries, in the order of the queue. */
async function claimAll(ids: string[]): Promise<(string | undefined)[]> {
  const order: (string | undefined)[] = [];
  for (const id of ids) order.push(await claim(id));
  return order;
}

test("the head start decides, then the order of acceptance; each is claimed once", async () => {
  const [a, b] = [await accept(), await accept()];
  const [soon, sooner] = [await accept({ priority: 30 }), await accept({ priority: 60 })];
  const last = await accept();
  const entries = [a, b, soon, sooner, last];
  expect(await claimAll(entries)).toEqual([sooner, soon, a, b, last]);
  expect(await claimAll(entries)).toEqual([undefined, undefined, undefined, undefined, undefined]);
  expect((await state.recovery.find(look)).queued).toEqual([]);
});

test("a head start ends where others have waited longer", async () => {
  const old = await accept();
  await until(async () => Date.now() - (await state.invocations.get(old))!.createdAt > 60, 2_000, "it has waited");
  const young = await accept({ priority: 0.02 });
  expect(await claimAll([old, young])).toEqual([old, young]);
});

test("other functions, and claims that name no function, are left alone", async () => {
  const [plain, ahead] = [await accept(), await accept({ priority: 30 })];
  const other = await accept({ fn: "g" });
  const { key: _, ...nameless } = owner;
  expect((await state.invocations.claim(entry(other), { ...owner, key: "a/g" }))?.record.id).toBe(other);
  expect((await state.invocations.claim(entry(plain), nameless))?.record.id).toBe(plain);
  expect(await claim(ahead)).toBe(ahead);
});

test("one that gave its entry away before it was queued still gets it", async () => {
  const plain = await accept({}, { queued: false });
  const ahead = await accept({ priority: 30 }, { queued: false });
  expect(await claim(plain)).toBe(ahead);
  expect((await state.recovery.find(look)).outbox).toEqual([entry(plain)]);
});

test("the entry of one that was claimed ahead still comes, for the one it overtook", async () => {
  const plain = await accept();
  const ahead = await accept({ priority: 30 }, { queued: false });
  expect(await claim(plain)).toBe(ahead);
  expect(await state.invocations.unclaimed([entry(ahead)])).toEqual([entry(ahead)]);
  expect(await claim(ahead)).toBe(plain);
});

test("the overtaken one is found by the sweep like any whose entry was lost", async () => {
  const [plain, ahead] = [await accept(), await accept({ priority: 30 })];
  expect(await claim(plain)).toBe(ahead);
  expect((await state.recovery.find(look)).queued).toEqual([entry(plain)]);
  const again = await state.recovery.readd(entry(plain));
  expect(again).toEqual(entry(plain, 2));
  expect(await claim(plain, 2)).toBe(plain);
  expect(await claim(ahead)).toBeUndefined();
});

test("cancelled, running, delayed and expired ones are passed over", async () => {
  const [a, b, c] = [await accept(), await accept(), await accept()];
  const cancelled = await accept({ priority: 90 });
  const late = await accept({ priority: 80, delayMs: 60_000 }, { queued: false });
  const expired = await accept({ priority: 70, maxQueueMs: 1 });
  const kept = await accept({ priority: 10 });
  await state.invocations.cancel(cancelled);
  await until(
    async () => (await state.recovery.release(10)).expired.includes(expired),
    2_000,
    "it has waited too long",
  );
  expect(await claimAll([a, b, c])).toEqual([kept, a, b]);
  expect((await state.invocations.get(late))!.state).toBe("queued");
  expect(await claim(kept)).toBe(c);
});

test("a retry keeps its head start, once it is due", async () => {
  const ahead = await accept({ priority: 30 });
  expect(await claim(ahead)).toBe(ahead);
  const plain = await accept();
  expect(await state.invocations.requeue({ id: ahead, generation: 1 }, "user", "again", 20)).toBe("delayed");
  const more = await accept();
  expect(await claim(plain)).toBe(plain);
  await until(async () => (await state.recovery.release(10)).due.length > 0, 2_000, "it is due");
  expect(await claim(more)).toBe(ahead);
  expect((await state.invocations.get(ahead))!.generation).toBe(2);
  expect(await claim(ahead, 2)).toBe(more);
});

test("a debounced call takes the head start of the last one", async () => {
  const plain = await accept();
  const first = await accept({ delayMs: 10_000, debounceKey: "k", priority: 30 }, { queued: false });
  await state.invocations.accept({
    ...{ id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json", input: Buffer.from("{}") },
    ...{ acceptPickle: false, timeoutMs: 1_000, retries: 0, delayMs: 1, debounceKey: "k" },
  });
  await until(async () => (await state.recovery.release(10)).due.length > 0, 2_000, "it is due");
  expect((await state.invocations.get(first))!.priority).toBeUndefined();
  expect(await claim(plain)).toBe(plain);
});

test("a negative one lets those go first that come within its time, and goes before those that come later", async () => {
  const behind = await accept({ priority: -60 });
  const [a, b] = [await accept(), await accept()];
  expect(await claimAll([a, b])).toEqual([a, b]);
  expect(await claim(behind)).toBe(behind);
  const slightly = await accept({ priority: -0.02 });
  const { createdAt } = (await state.invocations.get(slightly))!;
  await until(async () => Date.now() > createdAt + 40, 2_000, "others count as accepted later");
  const late = await accept();
  expect(await claim(late)).toBe(slightly);
  expect(await claim(slightly)).toBe(late);
});

test("entries of negative ones are marked wherever they are told of", async () => {
  const marked = (id: string, generation = 1) => ({ ...entry(id, generation), behind: true });
  const id = await accept({ priority: -60 }, { queued: false });
  expect(await state.invocations.unclaimed([entry(id), marked(id)])).toEqual([marked(id)]);
  expect((await state.recovery.find(look)).outbox).toEqual([marked(id)]);
  expect(await claim(id)).toBe(id);
  expect(await state.invocations.requeue({ id, generation: 1 }, "user", "again")).toEqual(marked(id, 2));
  expect(await state.recovery.readd(marked(id, 2))).toEqual(marked(id, 3));
  const { queued, outbox } = await state.recovery.find(look);
  expect([queued, outbox]).toEqual([[marked(id, 3)], [marked(id, 3)]]);
  expect(await state.invocations.cancel(id)).toBe("cancelled");
  expect(await state.recovery.find(look)).toMatchObject({ queued: [], outbox: [] });
});

test("a debounced call takes the mark of the last one", async () => {
  const delayed = { delayMs: 10_000, debounceKey: "k" };
  const first = await accept({ ...delayed, priority: -60 }, { queued: false });
  await state.invocations.accept({
    ...{ id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json", input: Buffer.from("{}") },
    ...{ acceptPickle: false, timeoutMs: 1_000, retries: 0, ...delayed, delayMs: 1 },
  });
  let due: QueuedEntry[] = [];
  const isDue = async (): Promise<boolean> => {
    due = (await state.recovery.release(10)).due;
    return due.length > 0;
  };
  await until(isDue, 2_000, "it is due");
  expect(due).toEqual([entry(first)]);
});

test("a claim asked again finds what it took, its own call or another, and only while it has it", async () => {
  const [plain, ahead] = [await accept(), await accept({ priority: 30 })];
  expect(await claim(plain, 1, "t.1")).toBe(ahead);
  expect(await claim(plain, 1, "t.1")).toBe(ahead);
  expect((await state.invocations.get(ahead))!.attempts).toBe(1);
  expect(await claim(ahead, 1, "t.2")).toBe(plain);
  expect(await claim(ahead, 1, "t.2")).toBe(plain);
  // Its entry came late, after another claim took it.
  expect(await claim(plain, 1, "t.3")).toBeUndefined();
  const own = await accept();
  expect(await claim(own, 1, "t.4")).toBe(own);
  expect(await claim(own, 1, "t.4")).toBe(own);
  await state.invocations.requeue({ id: own, generation: 1 }, "none", "no room");
  expect(await claim(own, 1, "t.4")).toBeUndefined();
});

test("a claim whose answer is lost is the claimant's all the same", async () => {
  const proxy = await startTcpProxy(redis.port, { resp: true });
  const url = `redis://127.0.0.1:${proxy.port}`;
  const proxied = await connectState({ url, prefix, recordTtlSeconds: 60 });
  try {
    const identity = { runner: "run_1", node: "nod_1" } as NodeIdentity;
    const claims = createClaims({ state: proxied, identity, leaseMs: 10_000, offerEntry: async () => {} }, "a/f");
    const [plain, ahead] = [await accept(), await accept({ priority: 30 })];
    const lost = proxy.afterCommand((args) => args.some((arg) => arg.includes("run_1")), "cut");
    const claimed = claims.claim({ id: plain, generation: 1 });
    await lost;
    expect((await claimed)?.id).toBe(ahead);
    expect((await claims.claim({ id: ahead, generation: 1 }))?.id).toBe(plain);
    expect((await state.invocations.get(ahead))!.attempts).toBe(1);
  } finally {
    await proxied.close();
    await proxy.close();
  }
});
