/** Recursion on a small node: what waits lends its place, and what can only wait for itself is given up. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/redis.ts";
import { startTestRunner } from "./fixture.ts";

const MIB = 2 ** 20;
const SOURCE = `
import time
import fabric_sdk as fabric
def of(name): return fabric.Function.from_name("t", name)
def depth(n): return 0 if n == 0 else 1 + of("depth").remote(n - 1)
def fib(n):
    if n < 2: return n
    left, right = of("fib").spawn(n - 1), of("fib").spawn(n - 2)
    return left.get() + right.get()
def tree(n):
    return 1 if n == 0 else sum(of("tree").map([n - 1, n - 1]))
def keyed(n): return n if n == 0 else of("keyed").with_call_options(key="one").remote(n - 1)
def batch(n): return [of("inner").remote(one) for one in n]
def outer(n): return of("inner").remote(n)
def inner(n): return n + 1
def naps(seconds): return of("nap").remote(seconds)
def nap(seconds):
    time.sleep(seconds)
    return seconds
def recovers():
    try:
        return of("depth").remote(9)
    except fabric.FunctionError as error:
        return [error.code, error.message]
`;
let t: Awaited<ReturnType<typeof startTestRunner>>;
beforeAll(async () => {
  const small = { memory: 64, scaledown_window: 1 };
  const one = { ...small, max_containers: 1, timeout: 60 };
  t = await startTestRunner(
    SOURCE,
    {
      batch: { ...one, batched: { max_batch_size: 4, wait_ms: 50 } },
      tree: one,
      keyed: { ...one, key_concurrency: 1 },
      depth: one,
      fib: { ...one, max_containers: 2 },
      outer: one,
      inner: one,
      naps: one,
      nap: one,
      recovers: one,
    },
    { logLevel: process.env.T_LOG, cpuMillis: 1_000, memoryBytes: 5 * 64 * MIB },
  );
}, 60_000);
afterAll(() => t.close());

const bookings = () => t.state.capacity.bookings("nod_t");

describe("lending", () => {
  it("lets a call run beside its caller on a node with one cpu", async () => {
    expect(await t.value("outer", 1)).toBe(2);
  });

  it("lends the place of a batch that waits", async () => {
    const ids = await Promise.all([1, 2, 3].map((n) => t.call("batch", [n])));
    const records = await Promise.all(ids.map((id) => t.ended(id)));
    expect(records.map(({ result }) => result?.inline?.toString())).toEqual(["2", "3", "4"]);
  });

  it("lets a function call itself beyond max_containers, as deep as memory reaches", async () => {
    expect(await t.value("depth", 4)).toBe(4);
  });

  it("takes back what it lent when the caller goes on", async () => {
    const id = await t.call("naps", [1.5]);
    const lent = await until(
      async () => (await bookings()).find((one) => one.waits?.some((line) => line.startsWith(id))),
      20_000,
      "its place is lent",
    );
    await t.ended(id);
    await until(
      async () => !(await bookings()).find((one) => one.container === lent.container)?.waits,
      5_000,
      "it is taken back",
    );
  });

  it("gives up a call that only its callers could make room for, and names them", async () => {
    const [code, message] = await t.value("recovers");
    expect(code).toBe("call_deadlock");
    expect(message).toMatch(
      /^t\/depth \(inv_\w+\) needs 64 MiB of memory .* called by t\/depth \(inv_\w+\), called by/,
    );
    const record = await t.ended(await t.call("depth", [9]));
    expect(record).toMatchObject({ state: "failed", error: { code: "exception" } });
    expect(record.error!.message).toContain("call_deadlock");
  }, 60_000);

  it("gives up a call that waits for a key which its caller holds", async () => {
    const id = await t.call("keyed", [1], { key: "one", keyLimit: 1 });
    const { error } = await t.ended(id, 30_000);
    expect(error!.message).toContain("needs its turn among the calls with key one");
  }, 40_000);

  it("maps beside the caller, and gives up inputs of maps that block each other", async () => {
    expect(await t.value("tree", 1)).toBe(2);
    const record = await t.ended(await t.call("tree", [8], { timeoutMs: 120_000 }), 120_000);
    expect(record).toMatchObject({ state: "failed" });
    expect(record.error!.message).toMatch(/call_deadlock|inputs_failed/);
  }, 130_000);

  it("lets families that block each other go on, one after the other", async () => {
    const record = await t.ended(await t.call("fib", [5], { timeoutMs: 120_000 }), 120_000);
    // Whether it ends well depends on who is given up; that it ends is what counts.
    expect(["succeeded", "failed"]).toContain(record.state);
    if (record.state === "failed") expect(record.error!.message).toContain("call_deadlock");
  }, 130_000);
});
