/** Calls that functions make, in the live state and over HTTP: linked, once, and ended with those who wanted them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cancelTree } from "../../core/cancel-tree.ts";
import { newId } from "../../core/ids.ts";
import type { Caller, NewInvocation } from "../../core/invocation.ts";
import { encodeBlock } from "../../core/map.ts";
import type { StateStore } from "../../core/state-store.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway;
let state: StateStore;
beforeAll(async () => {
  gateway = await startGateway();
  state = gateway.deps.state;
});
afterAll(() => gateway.close());

const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const ok = { state: "succeeded", result: { encoding: "json", size: 1, inline: Buffer.from("1") } } as const;
const failed = { code: "exception", message: "no", retryable: false, fault: "user" } as const;
const call = (over: Partial<NewInvocation> = {}): NewInvocation => ({
  ...{ id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json", input: Buffer.from("{}") },
  ...{ acceptPickle: false, timeoutMs: 1_000, retries: 0 },
  ...over,
});
const from = (id: string, over: Partial<Caller> = {}): Partial<NewInvocation> => ({
  caller: { id, generation: 1, root: id, depth: 1, awaited: true, ...over },
});
async function accepted(over: Partial<NewInvocation> = {}): Promise<string> {
  return (await state.invocations.accept(call(over))).id;
}
async function running(over: Partial<NewInvocation> = {}): Promise<string> {
  const id = await accepted(over);
  await state.invocations.claim({ id, generation: 1 }, owner);
  return id;
}
const finish = (id: string) => state.invocations.finish({ id, generation: 1 }, ok, {});
const stateOf = async (id: string): Promise<string> => (await state.invocations.get(id))!.state;

describe("a call with a caller", () => {
  test("is stored once under its id, and listed by its caller until the record goes", async () => {
    const parent = await running();
    const child = call({ id: newId("inv"), ...from(parent) });
    expect(await state.invocations.accept(child)).toMatchObject({ id: child.id, created: true });
    expect(await state.invocations.accept(child)).toEqual({ id: child.id, created: false, mismatch: false });
    expect(await state.invocations.children(parent, 10)).toEqual([child.id]);
    expect(await state.invocations.liveChildren(parent)).toEqual([child.id]);
    expect((await state.invocations.get(child.id))!.caller).toEqual({
      ...{ id: parent, generation: 1, root: parent, depth: 1, awaited: true },
    });
    expect((await state.invocations.get(parent))!.hasCalls).toBe(true);
    await state.invocations.claim({ id: child.id, generation: 1 }, owner);
    await finish(child.id);
    expect(await state.invocations.liveChildren(parent)).toEqual([]);
    expect(await state.invocations.children(parent, 10)).toEqual([child.id]);
  });

  test("may be a map, which is the same one when its request comes again", async () => {
    const parent = await running();
    const map = call({ id: newId("inv"), ...from(parent) });
    expect(await state.maps.open(map)).toEqual({ id: map.id, created: true });
    await state.maps.append(map.id, { first: 0, count: 1, body: Buffer.from("[1]") });
    expect(await state.maps.open(map)).toEqual({ id: map.id, created: false, mismatch: false });
    expect(await state.invocations.children(parent, 10)).toEqual([map.id]);
    expect((await state.invocations.get(map.id))!.map).toMatchObject({ total: 1 });
  });

  test("may be due later, and is linked all the same", async () => {
    const parent = await running();
    const child = await accepted({ ...from(parent), delayMs: 60_000 });
    expect(await state.invocations.liveChildren(parent)).toEqual([child]);
  });

  test("is refused when the calling attempt has ended or is another by now", async () => {
    const parent = await running();
    await expect(accepted(from(parent, { generation: 2 }))).rejects.toMatchObject({ code: "cancelled" });
    await finish(parent);
    await expect(accepted(from(parent))).rejects.toMatchObject({ code: "cancelled" });
    expect(await state.invocations.children(parent, 10)).toEqual([]);
  });
});

describe("what nobody wants any more", () => {
  test("is cancelled with its caller, but what was only spawned goes on after any other end", async () => {
    const parent = await running();
    const [awaited, spawned] = [await accepted(from(parent)), await accepted(from(parent, { awaited: false }))];
    expect(await state.invocations.cancel(awaited, { unwanted: true })).toBe("wanted");
    await state.invocations.finish({ id: parent, generation: 1 }, { state: "failed", error: failed }, {});
    expect(await state.invocations.cancel(awaited, { unwanted: true })).toBe("cancelled");
    expect(await state.invocations.cancel(spawned, { unwanted: true })).toBe("wanted");
    expect(await stateOf(spawned)).toBe("queued");
  });

  test("is seen when it is claimed and when leases are renewed, should nobody have told", async () => {
    const parent = await running();
    const queued = await accepted(from(parent));
    const runs = await running(from(parent));
    await state.invocations.requeue({ id: parent, generation: 1 }, "none", "its node is being stopped");
    const claim = await state.invocations.claim({ id: queued, generation: 1 }, owner);
    expect(claim!.record.cancelRequested).toBe(true);
    const { cancel } = await state.invocations.renew("run_1", [{ id: runs, generation: 1 }], 10_000);
    expect(cancel).toEqual([{ id: runs, generation: 1 }]);
  });

  test.each(["is claimed", "runs"])("ends a map as cancelled when its slice %s, sealed or not", async (when) => {
    const parent = await running();
    const { id } = await state.maps.open(call(from(parent)));
    const { entry } = await state.maps.append(id, { first: 0, count: 1, body: Buffer.from("[1]") });
    const lost = () => state.invocations.requeue({ id: parent, generation: 1 }, "none", "its node is being stopped");
    if (when === "is claimed") await lost();
    const { record } = (await state.invocations.claim(entry!, owner))!;
    const slice = { id: record.id, generation: record.generation };
    if (when === "runs") {
      await lost();
      expect((await state.invocations.renew("run_1", [slice], 10_000)).cancel).toEqual([slice]);
    } else expect(record.cancelRequested).toBe(true);
    const block = encodeBlock({ first: 0, count: 1 }, Buffer.from("x\n"));
    await state.maps.finish(slice, { block, succeeded: 0, failed: 1, again: [] });
    expect(await stateOf(id)).toBe("cancelled");
  });

  test("is cancelled down the whole tree, and what has ended stays as it is", async () => {
    const root = await running();
    const middle = await running(from(root, { awaited: false }));
    const done = await running(from(middle, { root }));
    await finish(done);
    const leaf = await accepted(from(middle, { root, depth: 2, awaited: false }));
    expect(await cancelTree(state.invocations, root)).toBe("cancelling");
    expect(await stateOf(leaf)).toBe("cancelled");
    expect(await stateOf(done)).toBe("succeeded");
    expect((await state.invocations.get(middle))!.cancelRequested).toBe(true);
  });
});

test("a queued call is given up once, a running one is not", async () => {
  const id = await accepted();
  const error = { code: "call_deadlock", message: "no room", retryable: false, fault: "user" } as const;
  expect(await state.invocations.giveUp(id, error)).toBe(true);
  expect(await state.invocations.get(id)).toMatchObject({ state: "failed", error });
  expect(await state.invocations.giveUp(id, error)).toBe(false);
  expect(await state.invocations.claim({ id, generation: 1 }, owner)).toBeUndefined();
  const other = await running();
  expect(await state.invocations.giveUp(other, error)).toBe(false);
});

test("a lent place gives back cpu and a container, not memory, and can be taken back", async () => {
  const facts = { id: "nod_l", runner: "run_l", engine: "process", hostname: "h", startedAt: 0, gpus: [] };
  await state.capacity.announce({ ...facts, cpuMillis: 1_000, memoryBytes: 300 }, 60_000);
  const ask = (container: string) =>
    state.capacity.book([
      { node: "nod_l", container, key: "a/l", cpuMillis: 1_000, memoryBytes: 100, maxContainers: 1 },
    ]);
  await ask("con_1");
  expect(await ask("con_2")).toEqual({ refused: expect.stringContaining("max_containers") });
  await state.capacity.lend("nod_l", { con_1: ["inv_a inv_b", "inv_c"], con_gone: ["inv_x"] });
  expect(await state.capacity.bookings("nod_l")).toMatchObject([
    { container: "con_1", gpus: [], waits: ["inv_a inv_b", "inv_c"] },
  ]);
  expect(await ask("con_2")).toMatchObject([{ container: "con_2" }]);
  await state.capacity.lend("nod_l", { con_1: [], con_2: ["inv_d inv_e"] });
  expect(await ask("con_3")).toEqual({ refused: expect.stringContaining("max_containers") });
  await state.capacity.lend("nod_l", { con_1: ["inv_a inv_b"] });
  expect(await ask("con_3")).toMatchObject([{ container: "con_3" }]);
  await state.capacity.lend("nod_l", { con_3: ["inv_f inv_g"] });
  expect(await ask("con_4")).toEqual({ refused: expect.stringContaining("no memory") });
});

test("HTTP shows parent, root and children, lists by parent, and cancels the tree", async () => {
  const get = async (path: string) => (await (await gateway.request(path)).json()) as any;
  const root = await running();
  const middle = await running({ ...from(root), fn: "g" });
  const leaf = await accepted(from(middle, { root, depth: 2 }));
  expect(await get(`/v1/invocations/${root}`)).toMatchObject({ children: [middle] });
  const shown = await get(`/v1/invocations/${middle}`);
  expect(shown).toMatchObject({ parent: root, root, children: [leaf] });
  expect(await get(`/v1/invocations/${leaf}`)).not.toHaveProperty("children");
  const ids = async (query: string) =>
    (await get(`/v1/invocations?${query}`)).invocations.map(({ id }: { id: string }) => id);
  expect(await ids(`parent=${root}`)).toEqual([middle]);
  expect(await ids(`parent=${root}&function=f`)).toEqual([]);
  expect((await gateway.request("/v1/invocations?parent=nonsense")).status).toBe(400);
  const cancelled = await gateway.request(`/v1/invocations/${root}/cancel`, { method: "POST" });
  expect(await cancelled.json()).toEqual({ id: root, state: "cancelling" });
  expect(await stateOf(leaf)).toBe("cancelled");
});
