/** From a queue's entry to a settled record, with real Redis, S3, shims and processes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/redis.ts";
import { startTestRunner } from "./fixture.ts";

const SOURCE = `
import os, sys, time, signal
def add(a, b): return a + b
def boom(): raise ValueError("no such digit")
def big(n): return "x" * n
def hello(name):
    print("hello", name)
    return os.getpid()
def nap(seconds):
    time.sleep(seconds)
    return "slept"
def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def quit3(): os._exit(3)
def stubborn():
    while True:
        try:
            time.sleep(0.1)
        except BaseException:
            pass
`;
let t: Awaited<ReturnType<typeof startTestRunner>>;
beforeAll(async () => {
  const plain = { add: {}, boom: {}, big: {}, hello: { max_inputs: 4 }, nap: { max_inputs: 2 } };
  t = await startTestRunner(SOURCE, { ...plain, crash: {}, quit3: {}, stubborn: {} }, { logLevel: process.env.T_LOG });
});
afterAll(() => t.close());

describe("runner", () => {
  it("runs inputs and reuses a warm container", async () => {
    expect(await t.value("add", 2, 3)).toBe(5);
    expect(await t.value("add", 20, 3)).toBe(23);
    expect((await t.containers()).filter((one) => one.labels["fabric.function"] === "add")).toHaveLength(1);
  });

  it("claims an offered call for a warm container, and lets an entry that comes late be", async () => {
    await t.value("nap", 0);
    const id = await t.offer("nap", [0.5]);
    await until(async () => (await t.state.invocations.get(id))!.state === "running", 5_000, "it runs");
    await t.enqueue("nap", id);
    await until(() => t.queue.isEmpty("t/nap"), 5_000, "the late entry is acknowledged");
    expect(await t.state.invocations.get(id)).toMatchObject({ state: "running", generation: 1 });
    expect(await t.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, platformFaults: 0 });
  });

  it("leaves an offered call alone that has no slot here", async () => {
    await Promise.all([t.value("nap", 0), t.value("nap", 0)]);
    const offered = await Promise.all(Array.from({ length: 40 }, () => t.offer("nap", [0.3])));
    await t.ended(await t.call("nap", [0.3]));
    const records = await Promise.all(offered.map((id) => t.state.invocations.get(id)));
    const queued = records.filter((record) => record!.state === "queued").map((record) => record!.id);
    expect(queued.length).toBeGreaterThan(20);
    for (const id of queued) await t.enqueue("nap", id);
    for (const id of offered) expect(await t.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  });

  it("tells moments that add up", async () => {
    const { createdAt, claimedAt, startedAt, endedAt, finishedAt, container } = await t.ended(
      await t.call("add", [1, 1]),
    );
    expect(claimedAt).toBeGreaterThanOrEqual(createdAt);
    expect(startedAt).toBeGreaterThanOrEqual(claimedAt!);
    expect(endedAt).toBeGreaterThanOrEqual(startedAt!);
    expect(finishedAt! + 5).toBeGreaterThanOrEqual(endedAt!);
    expect(container).toMatch(/^con_/);
  });

  it("fails an input with the function's own exception, and retries it where asked", async () => {
    const record = await t.ended(await t.call("boom", [], { retries: 2 }));
    expect(record).toMatchObject({ state: "failed", attempts: 3, userFaults: 2, error: { code: "exception" } });
    expect(record.error!.message).toContain("no such digit");
    expect(record.error!.details!.traceback).toContain("boom");
  });

  it("keeps large results in the bucket and takes large inputs from it", async () => {
    for (const size of [20_000, 3_000_000]) {
      const { result } = await t.ended(await t.call("big", [size]));
      expect(result).toMatchObject({ size: size + 2, encoding: "json" });
      const stored = await t.objects.head(result!.key!);
      expect(stored!.size).toBe(size + 2);
    }
    const input = JSON.stringify({ args: ["y".repeat(2_000_000), "z"], kwargs: {} });
    const id = "inv_large";
    await t.objects.put(`invocations/${id}/input`, input);
    await t.call("add", [], { id, input: undefined });
    expect((await t.ended(id)).result!.size).toBe(2_000_003);
  });

  it("ships what functions print", async () => {
    const id = await t.call("hello", ["you"]);
    await t.ended(id);
    const lines = await until(
      async () => {
        const found = await t.state.logs.read("t", { limit: 10, invocation: id });
        return found.length > 0 && found;
      },
      5_000,
      "the line arrives",
    );
    expect(lines[0]).toMatchObject({ text: "hello you", source: "stdout", fn: "hello" });
  });

  it("times out, and cancels", async () => {
    expect(await t.ended(await t.call("nap", [20], { timeoutMs: 300 }))).toMatchObject({
      state: "failed",
      error: { code: "timed_out" },
    });
    const id = await t.call("nap", [20]);
    await until(async () => (await t.state.invocations.get(id))!.container, 10_000, "it runs");
    expect(await t.state.invocations.cancel(id)).toBe("cancelling");
    expect((await t.ended(id)).state).toBe("cancelled");
  });

  it("kills the container of a function that does not end when told", async () => {
    const record = await t.ended(await t.call("stubborn", [], { timeoutMs: 300 }));
    expect(record).toMatchObject({ state: "failed", error: { code: "timed_out" } });
  });

  it("says what ended a container", async () => {
    const segfault = await t.ended(await t.call("crash"));
    expect(segfault.error).toMatchObject({ code: "container_crashed", message: expect.stringContaining("SIGSEGV") });
    const exit = await t.ended(await t.call("quit3", [], { retries: 1 }));
    expect(exit).toMatchObject({ attempts: 2, error: { message: expect.stringContaining("exit code 3") } });
  });

  it("starts an input again when its container is killed from outside", async () => {
    const id = await t.call("nap", [2]);
    const { container } = await until(
      async () => {
        const record = await t.state.invocations.get(id);
        return record?.container ? record : undefined;
      },
      10_000,
      "it runs",
    );
    await t.engine.stop(container!, 0);
    expect(await t.ended(id)).toMatchObject({ state: "succeeded", attempts: 2, platformFaults: 1, userFaults: 0 });
  });
});
