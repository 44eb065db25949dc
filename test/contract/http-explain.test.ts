/** What a person who wonders about a call is told: over HTTP, with real records, attempts, bookings and loads. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FabricError } from "../../core/errors.ts";
import { sumLoads } from "../../core/load.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
  await gateway.deploy("slow", [functionSpec("f", { retries: 2, memory: 1024, max_inputs: 2 }), functionSpec("g")]);
});
afterAll(() => gateway.close());

const owner = { runner: "run_1", node: "nod_1", leaseMs: 10_000 };
const get = async (path: string): Promise<any> => {
  const reply = await gateway.request(path);
  expect(reply.status).toBe(200);
  return reply.json();
};
const explain = (id: string) => get(`/v1/invocations/${id}/explain`);

async function spawn(fn: string): Promise<string> {
  const reply = await gateway.request(`/v1/apps/slow/functions/${fn}/invocations`, {
    method: "POST",
    headers: { prefer: "respond-async" },
  });
  const { id } = (await reply.json()) as { id: string };
  const key = `slow/${fn}` as const;
  await until(() => gateway.deps.queue.has(key, { id, generation: 1 }), 5_000, "it is in the queue");
  return id;
}
/** Later than what the gateway still remembers of its last look. */
const reasonOf = (id: string, wanted: RegExp) =>
  until(
    async () => {
      const record = await get(`/v1/invocations/${id}`);
      return wanted.test(record.reason) && record;
    },
    5_000,
    `${wanted}`,
  );

describe("a call that waits", () => {
  it("is told that there is no node, its place, and an estimate made of what runners tell", async () => {
    const ids = [await spawn("f"), await spawn("f"), await spawn("f")];
    expect(await reasonOf(ids[2]!, /no node is there/)).toMatchObject({ ahead: 2 });
    const { state } = gateway.deps;
    const node = { id: "nod_1", runner: "run_1", engine: "process", hostname: "h", cpuMillis: 4_000, gpus: [] };
    await state.capacity.announce({ ...node, memoryBytes: 2 ** 31, startedAt: 0 }, 60_000);
    await state.capacity.book([
      { node: "nod_1", container: "con_1", key: "slow/g", cpuMillis: 1_000, memoryBytes: 2 ** 30, maxContainers: 9 },
    ]);
    await state.loads.publish("run_1", { "slow/f": { ...sumLoads([]), slots: 1, busy: 1, runMs: 2_000 } }, 60_000);
    const record = await reasonOf(ids[2]!, /waiting for a slot/);
    expect(record.reason).toBe("waiting for a slot: 1/1 busy, 2 ahead, about 6.0 s (inputs take 2.0 s)");
    expect(record).toMatchObject({ ahead: 2, estimateMs: 6_000 });
    const { invocations } = await get("/v1/invocations?app=slow&function=f");
    expect(invocations.map(({ ahead }: { ahead: number }) => ahead)).toEqual([2, 1, 0]);

    const story = await explain(ids[0]!);
    expect(story.summary).toBe(
      "slow/f is queued: waiting for a slot: 1/1 busy, next in line, about 2.0 s (inputs take 2.0 s)",
    );
    expect(story).toMatchObject({
      attempts: [],
      budgets: { user: { spent: 0, of: 2 }, platform: { spent: 0, of: 3 } },
      needs: { cpu: 1, memoryMiB: 1024, slots: 2, maxContainers: 10 },
      nodes: [
        { node: "nod_1", free: { cpu: 3, memoryMiB: 1024, gpus: 0 }, held: [{ function: "slow/g", containers: 1 }] },
      ],
      logs: [],
    });
    const early = await gateway.request(`/v1/invocations/${ids[0]}/result`, { headers: { prefer: "wait=0" } });
    expect(await early.json()).toMatchObject({ reason: expect.stringContaining("next in line"), ahead: 0 });
    await state.capacity.withdraw("nod_1");
    for (const id of ids) await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
  });
});

describe("a call with a history", () => {
  it("shows every attempt with its phases, what was charged, whose fault it is, and its last lines", async () => {
    const id = await spawn("g");
    const { invocations, logs } = gateway.deps.state;
    await invocations.claim({ id, generation: 1 }, owner);
    const at = Date.now();
    await invocations.requeue({ id, generation: 1 }, "user", "retry 1 of 1 at once after ValueError: no", 0, {
      container: "con_1",
      startedAt: at,
      endedAt: at + 40,
      bootMs: 0,
      enterMs: 0,
    });
    await invocations.claim({ id, generation: 2 }, owner);
    await invocations.requeue({ id, generation: 2 }, "none", "all slots of its node are busy");
    await invocations.claim({ id, generation: 3 }, { ...owner, node: "nod_2" });
    await logs.append("slow", [
      ...Array.from({ length: 25 }, (_, i) => ({
        ...{
          at: Date.now(),
          fn: "g",
          invocation: id,
          container: "con_1",
          source: "stdout" as const,
          text: `line ${i}`,
        },
      })),
      { at: Date.now(), fn: "g", invocation: "inv_other", container: "con_1", source: "stdout", text: "foreign" },
    ]);
    const error = new FabricError("exception", "ValueError: no\nmore").toBody();
    await invocations.finish(
      { id, generation: 3 },
      { state: "failed", error },
      { container: "con_2", startedAt: at + 60, endedAt: at + 90 },
    );
    const story = await explain(id);
    expect(story.summary).toMatch(/^slow\/g failed after .* in 3 attempts: ValueError: no$/);
    expect(story.attempts).toMatchObject([
      { generation: 1, node: "nod_1", container: "con_1", charged: "user", timings: { run: 40 } },
      { generation: 3, node: "nod_2", container: "con_2", outcome: "failed: ValueError: no", timings: { run: 30 } },
    ]);
    expect(story.attempts[0].outcome).toContain("retry 1 of 1");
    expect(story.verdict).toMatchObject({
      fault: "user",
      retryable: false,
      help: expect.stringContaining("exception"),
    });
    expect(story.logs.map(({ text }: { text: string }) => text)).toEqual(
      Array.from({ length: 20 }, (_, i) => `line ${i + 5}`),
    );
    expect(story.nodes).toBeUndefined();
  });

  it("keeps the last ten attempts", async () => {
    const id = await spawn("g");
    const { invocations } = gateway.deps.state;
    for (let generation = 1; generation <= 13; generation++) {
      await invocations.claim({ id, generation }, owner);
      await invocations.requeue({ id, generation }, "platform", "again");
    }
    const { attempts } = await explain(id);
    expect(attempts.map(({ generation }: { generation: number }) => generation)).toEqual([
      4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
    ]);
    await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
    expect((await explain(id)).summary).toMatch(/^slow\/g was cancelled after/);
  });
});

it("refuses what is no invocation", async () => {
  for (const id of ["x", "inv_00000000000000000000000000"])
    expect((await gateway.request(`/v1/invocations/${id}/explain`)).status).toBe(404);
});

it("sums up functions and nodes", async () => {
  const { state } = gateway.deps;
  const node = { id: "nod_9", runner: "run_9", engine: "process", hostname: "h9", cpuMillis: 4_000, gpus: [] };
  await state.capacity.announce({ ...node, memoryBytes: 2 ** 31, startedAt: 0 }, 60_000);
  await state.loads.publish(
    "run_9",
    { "slow/f": { ...sumLoads([]), slots: 2, busy: 1, p50Ms: 30, callsPerSecond: 4 } },
    60_000,
  );
  const seen = await until(
    async () => {
      const all = await get("/v1/load");
      return all.nodes.some((one: { node: string }) => one.node === "nod_9") && all;
    },
    5_000,
    "the load is seen",
  );
  expect(seen.functions).toContainEqual(
    expect.objectContaining({ function: "slow/f", running: 1, slots: 2, p50Ms: 30, callsPerSecond: 4 }),
  );
  expect(seen.nodes).toMatchObject([{ node: "nod_9", cpu: [0, 4], memoryMiB: [0, 2048], gpus: [0, 0] }]);
});
