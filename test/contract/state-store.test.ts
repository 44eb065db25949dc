/** The promises of StateStore, against a real Redis. */
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import type { CapacityRequest, NodeFacts } from "../../core/capacity-ledger.ts";
import { newId } from "../../core/ids.ts";
import type { FunctionKey, InvocationRecord, NewInvocation } from "../../core/invocation.ts";
import type { StateStore } from "../../core/state-store.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";
import { connectState, freshStates } from "../support/state.ts";

let redis: TestRedis;
let state: StateStore;
let prefix: string;
freshStates((fresh) => {
  ({ redis, state, prefix } = fresh);
});

const call = (over: Partial<NewInvocation> = {}): NewInvocation => ({
  id: newId("inv"),
  app: "a",
  fn: "f",
  version: "1",
  encoding: "json",
  input: Buffer.from('{"args":[],"kwargs":{}}'),
  acceptPickle: false,
  timeoutMs: 1000,
  retries: 0,
  ...over,
});
const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const limits = { outboxAgeMs: -1, leaseMs: 10_000, queuedAgeMs: -1, max: 100 };
const ok = { state: "succeeded", result: { encoding: "json", size: 1, inline: Buffer.from("1") } } as const;

async function running(over: Partial<NewInvocation> = {}, lease = owner) {
  const { id } = await state.invocations.accept(call(over));
  const claim = await state.invocations.claim({ id, generation: 1 }, lease);
  expect(claim?.record.state).toBe("running");
  return id;
}

describe("accept", () => {
  test("stores the record and its outbox entry in one step", async () => {
    const { id, created } = await state.invocations.accept(call({ acceptPickle: true }));
    expect(created).toBe(true);
    const record = await state.invocations.get(id);
    expect(record).toMatchObject({ id, app: "a", fn: "f", state: "queued", generation: 1, acceptPickle: true });
    expect(record?.input?.toString()).toBe('{"args":[],"kwargs":{}}');
    const found = await state.recovery.find(limits);
    expect(found.outbox).toEqual([{ key: "a/f", id, generation: 1 }]);
    await state.invocations.enqueued({ key: "a/f", id, generation: 1 });
    expect((await state.recovery.find(limits)).outbox).toEqual([]);
  });

  test("offers the call to the runners, with its version, and no call twice", async () => {
    const told: unknown[] = [];
    await state.hints.onWork((key, offer) => told.push([key, offer]));
    const { id } = await state.invocations.accept(call({ version: "7" }), { key: "k", digest: "d" });
    await state.invocations.accept(call({ version: "7" }), { key: "k", digest: "d" });
    await state.invocations.enqueued({ key: "b/g", id: "inv_x", generation: 1 });
    await until(() => told.length > 1, 2_000, "the hints arrive");
    expect(told).toEqual([
      ["a/f", { key: "a/f", id, generation: 1, version: "7" }],
      ["b/g", undefined],
    ]);
  });

  test("of several calls says which still need an entry: not the claimed, cancelled and queued ones", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await state.invocations.accept(call())).id);
    const entries = ids.map((id) => ({ key: "a/f" as const, id, generation: 1 }));
    expect(await state.invocations.unclaimed(entries)).toEqual(entries);
    await state.invocations.claim(entries[0]!, owner);
    await state.invocations.cancel(ids[1]!);
    await state.invocations.enqueued(entries[2]!, entries[4]!);
    expect(await state.invocations.unclaimed(entries)).toEqual([entries[3]]);
    expect(await state.hints.functionsWithWork()).toEqual(["a/f"]);
  });

  test("answers an idempotency key with the earlier call, and says when the calls differ", async () => {
    const first = await state.invocations.accept(call(), { key: "k", digest: "d" });
    expect(await state.invocations.accept(call(), { key: "k", digest: "d" })).toEqual({
      id: first.id,
      created: false,
      mismatch: false,
    });
    expect(await state.invocations.accept(call(), { key: "k", digest: "other" })).toMatchObject({ mismatch: true });
    expect(await state.invocations.list({ limit: 10 })).toHaveLength(1);
  });
});

describe("claim", () => {
  test("of a call that is not in the queue yet leaves nothing to enqueue or to check", async () => {
    const id = await running();
    expect(await state.recovery.find(limits)).toMatchObject({ outbox: [], queued: [] });
    expect(await state.invocations.requeue({ id, generation: 1 }, "none", "again")).toMatchObject({ generation: 2 });
    expect((await state.recovery.find(limits)).outbox).toEqual([{ key: "a/f", id, generation: 2 }]);
  });

  test("goes to exactly one of many runners", async () => {
    const { id } = await state.invocations.accept(call());
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        state.invocations.claim({ id, generation: 1 }, { ...owner, runner: `run_${i}` }),
      ),
    );
    expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1);
  });

  test("is refused for another generation, a cancelled record and one that does not exist", async () => {
    const { id } = await state.invocations.accept(call());
    expect(await state.invocations.claim({ id, generation: 2 }, owner)).toBeUndefined();
    expect(await state.invocations.cancel(id)).toBe("cancelled");
    expect(await state.invocations.claim({ id, generation: 1 }, owner)).toBeUndefined();
    expect(await state.invocations.claim({ id: newId("inv"), generation: 1 }, owner)).toBeUndefined();
  });
});

describe("steps of one moment", () => {
  test("are each a step of their own: some succeed, others are stale, and all waiters are told", async () => {
    const told: string[] = [];
    await state.hints.onDone("gwy_1", ({ id }) => told.push(id));
    const calls = Array.from({ length: 100 }, (_, i) => call({ waiter: "gwy_1", input: Buffer.alloc(i * 10, 120) }));
    const accepted = await Promise.all(calls.map((one) => state.invocations.accept(one)));
    expect(accepted.map(({ id }) => id)).toEqual(calls.map(({ id }) => id));
    const attempts = calls.map(({ id }, i) => ({ id, generation: i % 3 === 0 ? 2 : 1 }));
    const claims = await Promise.all(attempts.map((attempt) => state.invocations.claim(attempt, owner)));
    claims.forEach((claim, i) => {
      expect(claim?.record.input?.length).toBe(i % 3 === 0 ? undefined : i * 10);
    });
    const large = {
      state: "succeeded",
      result: { encoding: "json", size: 9, inline: Buffer.alloc(70_000, 49) },
    } as const;
    const ends = await Promise.all(
      attempts.map((attempt, i) => state.invocations.finish(attempt, i === 1 ? large : ok, {})),
    );
    expect(ends).toEqual(attempts.map(({ generation }) => (generation === 2 ? "stale" : "finished")));
    const ended = attempts.filter(({ generation }) => generation === 1).map(({ id }) => id);
    await until(() => told.length === ended.length, 2_000, "all are told");
    expect(told).toEqual(ended);
  });

  test("fail alone: one that cannot be done does not undo the others", async () => {
    const [good, bad] = [call(), call()];
    const plain = new Redis(redis.url);
    await plain.set(`${prefix}:inv:${bad.id}`, "no hash");
    plain.disconnect();
    const [first, second, third] = await Promise.allSettled(
      [good, bad, call()].map((one) => state.invocations.accept(one)),
    );
    expect([first!.status, second!.status, third!.status]).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((await state.invocations.get(good.id))?.state).toBe("queued");
  });
});

describe("finish", () => {
  test("happens once, tells the waiters, and nothing changes the record afterwards", async () => {
    const told: InvocationRecord[] = [];
    await state.hints.onDone("gwy_1", (record) => told.push(record));
    const id = await running({ waiter: "gwy_1" });
    expect(await state.invocations.finish({ id, generation: 1 }, ok, { startedAt: 5 })).toBe("finished");
    expect(await state.invocations.finish({ id, generation: 1 }, ok, {})).toBe("stale");
    expect(await state.invocations.requeue({ id, generation: 1 }, "user", "again")).toBe("stale");
    expect(await state.invocations.cancel(id)).toBe("ended");
    const record = await state.invocations.get(id);
    expect(record).toMatchObject({ state: "succeeded", startedAt: 5, result: { encoding: "json", size: 1 } });
    expect(record?.result?.inline?.toString()).toBe("1");
    await until(() => told.length === 1, 2_000, "the waiter hears of it");
    expect(told[0]).toEqual({ ...record, input: undefined });
  });

  test("of an attempt that was fenced changes nothing", async () => {
    const id = await running();
    expect(await state.invocations.requeue({ id, generation: 1 }, "platform", "node lost")).toEqual({
      key: "a/f",
      id,
      generation: 2,
    });
    expect(await state.invocations.finish({ id, generation: 1 }, ok, {})).toBe("stale");
    expect(await state.invocations.get(id)).toMatchObject({ state: "queued", generation: 2, platformFaults: 1 });
    expect((await state.invocations.claim({ id, generation: 2 }, owner))?.record.attempts).toBe(2);
  });
});

describe("cancel", () => {
  test("of a running call reaches its runner, and wins over a requeue", async () => {
    const cancels: unknown[] = [];
    await state.hints.onCancel("run_1", (attempt) => cancels.push(attempt));
    const id = await running();
    expect(await state.invocations.cancel(id)).toBe("cancelling");
    await until(() => cancels.length === 1, 2_000, "the runner hears of it");
    expect(cancels).toEqual([{ id, generation: 1 }]);
    expect((await state.invocations.renew("run_1", [{ id, generation: 1 }], 1000)).cancel).toEqual([
      { id, generation: 1 },
    ]);
    expect(await state.invocations.requeue({ id, generation: 1 }, "platform", "x")).toBe("cancelled");
    expect(await state.invocations.get(id)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
  });

  test("of an unknown call says so", async () => {
    expect(await state.invocations.cancel(newId("inv"))).toBe("missing");
  });
});

describe("leases", () => {
  test("renewal names what is lost: ended, requeued, or another runner's", async () => {
    const kept = await running();
    const ended = await running();
    await state.invocations.finish({ id: ended, generation: 1 }, ok, {});
    const attempts = [kept, ended].map((id) => ({ id, generation: 1 }));
    expect(await state.invocations.renew("run_1", attempts, 1000)).toEqual({ lost: [attempts[1]], cancel: [] });
    expect((await state.invocations.renew("run_2", [attempts[0]!], 1000)).lost).toEqual([attempts[0]]);
    expect((await state.invocations.ownedBy("run_1")).map(({ id }) => id)).toEqual([kept]);
  });

  test("one that ended is found and expires under the next generation, up to the budget", async () => {
    const id = await running({}, { ...owner, leaseMs: 1 });
    for (const generation of [1, 2]) {
      await until(
        async () => (await state.recovery.find({ ...limits, leaseMs: 200 })).expired.length === 1,
        2_000,
        "the lease ends",
      );
      const next = await state.recovery.expire({ id, generation }, 1);
      if (generation === 1) {
        expect(next).toEqual({ key: "a/f", id, generation: 2 });
        await state.invocations.claim({ id, generation: 2 }, { ...owner, leaseMs: 1 });
      } else expect(next).toBe("failed");
    }
    expect(await state.invocations.get(id)).toMatchObject({ state: "failed", error: { code: "node_lost" } });
  });

  test("none ends for one lease time after nobody looked for a while", async () => {
    const id = await running({}, { ...owner, leaseMs: 1 });
    const found = await state.recovery.find({ ...limits, leaseMs: 60_000 });
    expect(found.expired).toEqual([]);
    expect(await state.recovery.expire({ id, generation: 1 }, 3)).toBe("stale");
  });
});

describe("recovery of queued records", () => {
  test("an entry the queue has lists its function as having work, in case every hint of it was lost", async () => {
    await state.invocations.accept(call());
    const [entry] = (await state.recovery.find(limits)).queued;
    expect(await state.hints.functionsWithWork()).toEqual([]);
    await state.recovery.seen(entry!);
    expect(await state.hints.functionsWithWork()).toEqual(["a/f"]);
    expect((await state.recovery.find({ ...limits, queuedAgeMs: 60_000 })).queued).toEqual([]);
  });

  test("a lost entry comes back under the next generation, so that a late copy is stale", async () => {
    const { id } = await state.invocations.accept(call());
    const [entry] = (await state.recovery.find(limits)).queued;
    expect(entry).toEqual({ key: "a/f", id, generation: 1 });
    expect(await state.recovery.readd(entry!)).toEqual({ key: "a/f", id, generation: 2 });
    expect(await state.recovery.readd(entry!)).toBeUndefined();
    expect(await state.invocations.claim({ id, generation: 1 }, owner)).toBeUndefined();
    expect((await state.invocations.claim({ id, generation: 2 }, owner))?.record.attempts).toBe(1);
    expect((await state.recovery.find(limits)).queued).toEqual([]);
  });
});

describe("capacity", () => {
  const node: NodeFacts = {
    id: "nod_1",
    runner: "run_1",
    engine: "process",
    hostname: "h",
    cpuMillis: 2000,
    memoryBytes: 1 << 30,
    gpus: [
      { uuid: "GPU-1", model: "NVIDIA A100", memoryBytes: 1 },
      { uuid: "GPU-2", model: "NVIDIA A100", memoryBytes: 1 },
    ],
    startedAt: 0,
  };
  const ask = (over: Partial<CapacityRequest> = {}): CapacityRequest => ({
    node: "nod_1",
    container: newId("con"),
    key: "a/f",
    cpuMillis: 1000,
    memoryBytes: 1 << 20,
    maxContainers: 10,
    ...over,
  });

  test("is booked exactly, all or none, and says what is missing", async () => {
    await state.capacity.announce(node, 60_000);
    const first = ask();
    expect(await state.capacity.book([first])).toMatchObject([{ container: first.container, gpus: [] }]);
    expect(await state.capacity.book([first])).toHaveLength(1);
    expect(await state.capacity.book([ask(), ask()])).toEqual({ refused: "no cpu: 2 asked, 1 free on nod_1" });
    expect(await state.capacity.bookings("nod_1")).toHaveLength(1);
    expect(await state.capacity.book([ask({ cpuMillis: 1, memoryBytes: 2 ** 40 })])).toMatchObject({
      refused: expect.stringContaining("no memory: 1048576 MiB asked"),
    });
    await state.capacity.release("nod_1", [first.container]);
    expect(await state.capacity.book([ask(), ask()])).toHaveLength(2);
  });

  test("two gangs that each want more than half never hold half each", async () => {
    await state.capacity.announce({ ...node, cpuMillis: 5000 }, 60_000);
    const gang = (key: FunctionKey) => Array.from({ length: 3 }, () => ask({ key }));
    const asked = [gang("a/left"), gang("a/right")];
    const answers = await Promise.all(asked.map((requests) => state.capacity.book(requests)));
    const winner = answers.findIndex((one) => !("refused" in one));
    expect(answers[winner]).toHaveLength(3);
    expect(answers[1 - winner]).toEqual({ refused: "no cpu: 3 asked, 2 free on nod_1" });
    expect(await state.capacity.bookings("nod_1")).toHaveLength(3);
    // Asked again, what was booked is told; when it is released, the other has its turn.
    expect(await state.capacity.book(asked[winner]!)).toHaveLength(3);
    await state.capacity.release(
      "nod_1",
      asked[winner]!.map(({ container }) => container),
    );
    expect(await state.capacity.book(asked[1 - winner]!)).toHaveLength(3);
  });

  test("books the GPUs of a gang together, each to one of its containers", async () => {
    await state.capacity.announce(node, 60_000);
    const gang = (count: number) =>
      Array.from({ length: 2 }, () => ask({ gpu: { model: "A100", count }, cpuMillis: 1 }));
    expect(await state.capacity.book(gang(2))).toEqual({ refused: "no A100 free: 4 asked, 2 free on nod_1" });
    const booked = await state.capacity.book(gang(1));
    expect(Array.isArray(booked) && booked.map(({ gpus }) => gpus)).toEqual([["GPU-1"], ["GPU-2"]]);
  });

  test("spreads a gang over nodes that meet: most beside rank 0, none where they do not meet or are being stopped", async () => {
    const gang = (count: number, over: Partial<CapacityRequest> = {}) => Array.from({ length: count }, () => ask(over));
    const meets = ["machine:m"];
    await state.capacity.announce({ ...node, meets }, 60_000);
    await state.capacity.announce({ ...node, id: "nod_2", meets, cpuMillis: 3000 }, 60_000);
    await state.capacity.announce({ ...node, id: "nod_3", meets, cpuMillis: 1000 }, 60_000);
    await state.capacity.announce({ ...node, id: "nod_4", meets: ["machine:other"], cpuMillis: 9000 }, 60_000);
    await state.capacity.announce({ ...node, id: "nod_5", meets, draining: true, cpuMillis: 9000 }, 60_000);
    await state.capacity.announce({ ...node, id: "nod_6", meets, engine: "docker", cpuMillis: 9000 }, 60_000);
    const placesOf = (answer: Awaited<ReturnType<typeof state.capacity.book>>) =>
      "refused" in answer ? answer : answer.map((one) => (one.lead ? `${one.node} of ${one.lead}` : one.node));
    const now = { waitedMs: 0 };
    expect(await state.capacity.book(gang(7), now)).toEqual({ refused: "no cpu: 7 asked, 6 free on 3 nodes" });
    const memoryBytes = 2 ** 29;
    expect(await state.capacity.book(gang(6, { cpuMillis: 1, memoryBytes: memoryBytes * 1.5 }), now)).toEqual({
      refused: "no memory: 4608 MiB asked, 2304 MiB free on 3 nodes",
    });
    // Of those that one node would be large enough for it is awaited a little; that node's runner asks, too.
    const three = gang(3);
    expect(await state.capacity.book(three, now)).toEqual({
      refused: "nod_2 has room for all 3 containers, and may start them",
    });
    const booked = await state.capacity.book(three, { waitedMs: 2_000 });
    expect(placesOf(booked)).toEqual(["nod_1", "nod_1", "nod_2 of nod_1"]);
    expect(await state.capacity.book(three, now)).toEqual(booked);
    await Promise.all(
      ["nod_1", "nod_2"].map((id) =>
        state.capacity.release(
          id,
          three.map((one) => one.container),
        ),
      ),
    );
    // A node that lacks the image takes none.
    expect(await state.capacity.book(gang(6), { waitedMs: 0, without: ["nod_2"] })).toEqual({
      refused: "no cpu: 6 asked, 3 free on 2 nodes",
    });
    const six = await state.capacity.book(gang(6, { node: "nod_3" }), now);
    expect(placesOf(six)).toEqual(["nod_3", ...Array(3).fill("nod_2 of nod_3"), ...Array(2).fill("nod_1 of nod_3")]);
    expect(await state.capacity.book(gang(1))).toMatchObject({ refused: "no cpu: 1 asked, 0 free on nod_1" });
  });

  test("spreads a gang's GPUs: each container has all of its own on one node", async () => {
    const meets = ["swarm:s"];
    const gpus = ["GPU-1", "GPU-2", "GPU-3"].map((uuid) => ({ uuid, model: "NVIDIA A100", memoryBytes: 1 }));
    for (const id of ["nod_1", "nod_2"]) await state.capacity.announce({ ...node, id, meets, gpus }, 60_000);
    const gang = (count: number) =>
      Array.from({ length: count }, () => ask({ cpuMillis: 1, key: "bert/train", gpu: { model: "A100", count: 2 } }));
    expect(await state.capacity.book(gang(3), { waitedMs: 0 })).toEqual({
      refused: "no A100 free: 6 asked, 4 free on 2 nodes",
    });
    const booked = await state.capacity.book(gang(2), { waitedMs: 0 });
    expect("refused" in booked ? booked : booked.map((one) => [one.node, one.gpus])).toEqual([
      ["nod_1", ["GPU-1", "GPU-2"]],
      ["nod_2", ["GPU-1", "GPU-2"]],
    ]);
    expect(await state.capacity.book(gang(2), { waitedMs: 0 })).toEqual({
      refused: "no A100 free: 4 asked, 0 free on 2 nodes, 4 held by bert/train",
    });
  });

  test("keeps what becomes free for the gang that has waited longest, as much as it needs and while it asks", async () => {
    const meets = ["machine:m"];
    for (const id of ["nod_1", "nod_2"]) await state.capacity.announce({ ...node, id, meets, cpuMillis: 4000 }, 60_000);
    const gang = (key: FunctionKey, count: number) =>
      Array.from({ length: count }, () => ask({ key, cpuMillis: 2000 }));
    const small = await Promise.all(
      ["nod_1", "nod_1", "nod_2", "nod_2"].map((at) => state.capacity.book([ask({ node: at, cpuMillis: 1500 })])),
    );
    const ids = small.map((one) => ("refused" in one ? "" : one[0]!.container));
    const waits = (ms: number) => state.capacity.book(gang("a/gang", 3), { waitedMs: ms });
    const lacks = { refused: "no cpu: 6 asked, 0 free on 2 nodes" };
    expect(await waits(29_000)).toEqual(lacks);
    expect(await state.capacity.earmark()).toBeUndefined();
    expect(await waits(30_000)).toEqual(lacks);
    expect(await state.capacity.earmark()).toMatchObject({ key: "a/gang", quota: { nod_1: 2, nod_2: 1 } });
    // Another that waits shorter changes nothing, nor is it given what is kept.
    await state.capacity.book(gang("a/other", 3), { waitedMs: 30_000 - 5 });
    expect(await state.capacity.earmark()).toMatchObject({ key: "a/gang" });
    await state.capacity.release("nod_1", [ids[0]!, ids[1]!]);
    const kept = { refused: "what is free on nod_1 is kept for the gang of a/gang, which has waited longest" };
    expect(await state.capacity.book([ask({ cpuMillis: 500 })])).toEqual(kept);
    // Of the other node it needs one place; what is beyond is everybody's.
    await state.capacity.release("nod_2", [ids[2]!]);
    expect(await state.capacity.book([ask({ node: "nod_2", cpuMillis: 500 })])).toHaveLength(1);
    expect(await state.capacity.book([ask({ node: "nod_2", cpuMillis: 100 })])).toMatchObject({
      refused: expect.stringContaining("kept for the gang of a/gang"),
    });
    expect(await waits(31_000)).toHaveLength(3);
    expect(await state.capacity.earmark()).toBeUndefined();
  });

  test("keeps letters in order until they are dropped, and no more than a box holds", async () => {
    const heard: string[] = [];
    const stop = await state.posts.onPost("nod_1", () => void heard.push("post"));
    const texts = async () => (await state.posts.look("nod_1", 10)).map(({ bytes }) => bytes.toString());
    expect(
      await state.posts.post(
        "nod_1",
        ["a", "b"].map((text) => Buffer.from(text)),
      ),
    ).toBe(true);
    expect(await state.posts.post("nod_1", [Buffer.from([0, 255])])).toBe(true);
    const [first] = await state.posts.look("nod_1", 1);
    await state.posts.drop("nod_1", [first!.id]);
    expect((await state.posts.look("nod_1", 10)).map(({ bytes }) => [...bytes])).toEqual([[98], [0, 255]]);
    await until(async () => heard.length === 2, 5_000, "both hints are heard");
    stop();
    expect(await state.posts.post("nod_1", Array(4_096).fill(Buffer.from("x")))).toBe(true);
    expect(await state.posts.post("nod_1", [Buffer.from("x")])).toBe(false);
    await state.posts.clear("nod_1");
    expect(await texts()).toEqual([]);
  });

  test("gives each GPU to one container and names who holds them", async () => {
    await state.capacity.announce(node, 60_000);
    const gpu = { model: "A100", count: 1 };
    const uuids = [];
    for (let i = 0; i < 2; i++) {
      const booked = await state.capacity.book([ask({ gpu, cpuMillis: 1, key: "bert/train" })]);
      uuids.push(Array.isArray(booked) ? booked[0]?.gpus[0] : booked);
    }
    expect(uuids.sort()).toEqual(["GPU-1", "GPU-2"]);
    expect(await state.capacity.book([ask({ gpu, cpuMillis: 1 })])).toEqual({
      refused: "no A100 free: 1 asked, 0 free on nod_1, 2 held by bert/train",
    });
  });

  test("holds max_containers over all nodes, and forgets a node that is gone", async () => {
    await state.capacity.announce(node, 60_000);
    await state.capacity.announce({ ...node, id: "nod_2" }, 60_000);
    await state.capacity.book([ask({ node: "nod_2", maxContainers: 1 })]);
    expect(await state.capacity.book([ask({ maxContainers: 1 })])).toMatchObject({
      refused: expect.stringContaining("max_containers"),
    });
    await state.capacity.withdraw("nod_2");
    expect(await state.capacity.book([ask({ maxContainers: 1 })])).toHaveLength(1);
    expect((await state.capacity.nodes()).map(({ id }) => id)).toEqual(["nod_1"]);
  });
});

describe("hints and holds", () => {
  test("a function whose work arrives while it is called idle stays listed", async () => {
    await state.invocations.enqueued({ key: "a/f", id: "inv_x", generation: 1 });
    await state.hints.idle("a/f", async () => false);
    expect(await state.hints.functionsWithWork()).toEqual(["a/f"]);
    await state.hints.idle("a/f", async () => true);
    expect(await state.hints.functionsWithWork()).toEqual([]);
  });

  test("a series has one live writer, and a fenced attempt cannot take it", async () => {
    const [first, second] = [await running(), await running()];
    expect(await state.holds.takeSeries("s", { id: first, generation: 1 })).toEqual({ ok: true });
    expect(await state.holds.takeSeries("s", { id: second, generation: 1 })).toEqual({ ok: false, owner: first });
    await state.invocations.finish({ id: first, generation: 1 }, ok, {});
    expect(await state.holds.takeSeries("s", { id: second, generation: 1 })).toEqual({ ok: true });
    await state.invocations.finish({ id: second, generation: 1 }, ok, {});
    expect(await state.holds.takeSeries("s", { id: first, generation: 1 })).toMatchObject({ ok: false });
  });
});

describe("logs", () => {
  test("come back in order, by tail, and filtered", async () => {
    const line = (text: string, fn = "f") => ({ at: 1, fn, container: "con_1", source: "stdout" as const, text });
    await state.logs.append("a", [line("1"), line("2", "g"), line("3")]);
    const all = await state.logs.read("a", { limit: 10 });
    expect(all.map(({ text }) => text)).toEqual(["1", "2", "3"]);
    expect(await state.logs.read("a", { limit: 10, after: all[1]!.seq! })).toHaveLength(1);
    expect((await state.logs.read("a", { limit: 1, tail: true, fn: "f" }))[0]?.text).toBe("3");
  });
});

test("a Redis that is away gives redis_unavailable, and the store works again after it is back", async () => {
  const own = await startRedis({ appendonly: true });
  const store = await connectState({ url: own.url, prefix: "x", recordTtlSeconds: 60 });
  try {
    const { id } = await store.invocations.accept(call());
    await own.kill();
    await expect(store.invocations.get(id)).rejects.toMatchObject({ code: "redis_unavailable" });
    await own.start();
    const record = await until(() => store.invocations.get(id).catch(() => undefined), 5_000, "the record is back");
    expect(record.state).toBe("queued");
  } finally {
    await store.close();
    await own.close();
  }
});
