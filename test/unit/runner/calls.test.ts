/** Calls inside functions, through the runner's socket: with real Redis, S3, shims and processes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/redis.ts";
import { startTestRunner } from "./fixture.ts";

const SOURCE = `
import asyncio, time, threading
import fabric_sdk as fabric

def of(name): return fabric.Function.from_name("t", name)
def add(a, b): return a + b
def nap(seconds):
    time.sleep(seconds)
    return "slept"
class Upset(Exception):
    def __init__(self, message, number):
        super().__init__(message, number)
        self.number = number
def upset(): raise Upset("very", 7)
def big(n): return "x" * n
def size(text): return len(text)

def chain(n): return 0 if n == 0 else 1 + of("chain").remote(n - 1)
def fans(n):
    calls = [of("add").spawn(i, i) for i in range(n)]
    return [call.get() for call in calls]
async def gathers(n):
    return await asyncio.gather(*[of("add").remote.aio(i, 1) for i in range(n)])
def catches():
    try:
        of("upset").remote()
    except Upset as error:
        return [error.number, str(error.__cause__)]
def large(n): return [of("size").remote("y" * n), len(of("big").remote(n))]
def refused(app, name, version=None):
    try:
        fabric.Function.from_name(app, name, version=version).remote()
    except fabric.FabricError as error:
        return [type(error).__name__, error.code, error.fault]
def misfit():
    try:
        of("add").remote(1)
    except fabric.InvalidError as error:
        return [error.code, error.details["problems"]]
def waits():
    call = of("nap").spawn(30)
    try:
        call.get(timeout=0.2)
    except TimeoutError as error:
        state = call.status()
        call.cancel()
        try:
            call.get()
        except fabric.CancelledError:
            return [error.code, state["function"], state["state"] in ("queued", "running"), call.status()["state"]]
def maps(n): return list(of("add").starmap((i, 1) for i in range(n))) == list(range(1, n + 1))
async def maps_aio(n): return [x async for x in of("add").map.aio(range(n), range(n))]
def map_fails():
    try:
        list(of("upset_at").map([1, 2, 3]))
    except Upset as error:
        return error.number
def upset_at(n):
    if n == 2: raise Upset("at", n)
    return n
def spawn_maps(): return of("add").spawn_map([1, 2], [3, 4]).id
def reads(id): return list(fabric.Invocation.from_id(id).results())
def leaves_map():
    for result in of("nap").map([0, 30, 30], order_outputs=False):
        return result
def counts(n):
    for i in range(n): yield i
    return "done"
def counts_badly():
    yield 1
    raise Upset("half-way", 3)
def reads_gen(n):
    got = []
    def collect():
        result = yield from of("counts").remote_gen(n)
        got.append(result)
    return [list(collect()), got]
async def reads_gen_aio(n): return [x async for x in of("counts").remote_gen.aio(n)]
def gen_fails():
    got = []
    try:
        for value in of("counts_badly").remote_gen(): got.append(value)
    except Upset as error:
        return [got, error.number]
def gen_by_id(): return list(of("counts").spawn(3).get_gen())
def thrown(): of("upset").remote()
def spawns(seconds): return of("nap").spawn(seconds).id
def remotes(seconds): return of("nap").remote(seconds)
def leaves(seconds):
    """Ends while a thread of it waits for a call."""
    threading.Thread(target=of("nap").remote, args=(seconds,), daemon=True).start()
    while not fabric.Invocation.from_id(fabric.train.get_context().invocation_id).status().get("children"):
        time.sleep(0.01)
def pool(n):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(lambda i: of("nap").remote(30), range(n)))
`;
let t: Awaited<ReturnType<typeof startTestRunner>>;
beforeAll(async () => {
  const names =
    "reads_gen gen_fails gen_by_id maps map_fails upset_at spawn_maps reads leaves_map upset big size fans catches large refused misfit waits thrown spawns remotes leaves pool";
  const plain = Object.fromEntries(names.split(" ").map((name) => [name, { timeout: 60 }]));
  const parameters = ["a", "b"].map((name) => ({ name, kind: "normal" as const, required: true }));
  const more = {
    add: { parameters },
    nap: { max_inputs: 8, timeout: 60 },
    chain: {},
    gathers: { is_async: true },
    maps_aio: { is_async: true },
    reads_gen_aio: { is_async: true },
    counts: { is_generator: true },
    counts_badly: { is_generator: true },
  };
  t = await startTestRunner(SOURCE, { ...plain, ...more }, { logLevel: process.env.T_LOG });
}, 60_000);
afterAll(() => t.close());

const running = (id: string) =>
  until(async () => (await t.state.invocations.get(id))?.state === "running", 20_000, `${id} runs`);
const childrenOf = (id: string, count: number) =>
  until(
    async () => {
      const found = await t.state.invocations.list({ parent: id, limit: 100 });
      return found.length === count && found.every((one) => one.state === "running") ? found : undefined;
    },
    20_000,
    `${id} has ${count} running calls`,
  );

describe("calls inside functions", () => {
  it("returns results, through chains, fans and coroutines", async () => {
    expect(await t.value("chain", 3)).toBe(3);
    expect(await t.value("fans", 5)).toEqual([0, 2, 4, 6, 8]);
    expect(await t.value("gathers", 20)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });

  it("raises what the called function raised, as from outside", async () => {
    const [number, cause] = await t.value("catches");
    expect(number).toBe(7);
    expect(cause).toContain("in upset");
    const { error } = await t.ended(await t.call("thrown"));
    expect(error).toMatchObject({ code: "exception", details: { type: "app.Upset" } });
    expect(error!.details!.traceback).toContain("in upset");
  });

  it("carries large arguments and results", async () => {
    expect(await t.value("large", 20_000)).toEqual([20_000, 20_000]);
    expect(await t.value("large", 3_000_000)).toEqual([3_000_000, 3_000_000]);
  });

  it("refuses what the gateway would refuse", async () => {
    expect(await t.value("refused", "t", "nothing")).toEqual(["NotFoundError", "function_not_found", "user"]);
    expect(await t.value("refused", "other", "f")).toEqual(["NotFoundError", "app_not_found", "user"]);
    expect(await t.value("refused", "t", "add", "99")).toEqual(["NotFoundError", "version_not_found", "user"]);
    expect(await t.value("refused", "t", "x".repeat(500))).toEqual(["InvalidError", "invalid_name", "user"]);
    expect(await t.value("refused", "../t", "add")).toEqual(["InvalidError", "invalid_name", "user"]);
    expect(await t.value("misfit")).toEqual(["invalid_arguments", ["missing argument 'b'"]]);
  });

  it("waits with an end, looks and cancels", async () => {
    expect(await t.value("waits")).toEqual(["wait_timeout", "nap", true, "cancelled"]);
  });

  it("links calls to their caller", async () => {
    const id = await t.call("chain", [2]);
    await t.ended(id);
    const [child] = await t.state.invocations.list({ parent: id, limit: 10 });
    const [below] = await t.state.invocations.list({ parent: child!.id, limit: 10 });
    expect(child!.caller).toMatchObject({ id, root: id, depth: 1, awaited: true });
    expect(below!.caller).toMatchObject({ id: child!.id, root: id, depth: 2 });
    expect(await t.state.invocations.liveChildren(id)).toEqual([]);
  });

  it("maps: results in order, exceptions, results read elsewhere, and what is left is cancelled", async () => {
    expect(await t.value("maps", 2_500)).toBe(true);
    expect(await t.value("maps_aio", 300)).toEqual(Array.from({ length: 300 }, (_, i) => 2 * i));
    expect(await t.value("map_fails")).toBe(2);
    const map = (await t.value("spawn_maps")) as string;
    expect(await t.value("reads", map)).toEqual([4, 6]);
    expect((await t.state.invocations.get(map))!.caller).toMatchObject({ awaited: false, depth: 1 });
    const id = await t.call("leaves_map");
    expect(await t.ended(id)).toMatchObject({ state: "succeeded" });
    const [child] = await t.state.invocations.list({ parent: id, limit: 10 });
    expect(await t.ended(child!.id)).toMatchObject({ state: "cancelled" });
  }, 60_000);

  it("reads what generators yield, their return values and exceptions", async () => {
    expect(await t.value("reads_gen", 400)).toEqual([Array.from({ length: 400 }, (_, i) => i), ["done"]]);
    expect(await t.value("reads_gen_aio", 50)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(await t.value("gen_fails")).toEqual([[1], 3]);
    expect(await t.value("gen_by_id")).toEqual([0, 1, 2]);
    expect(await t.value("refused", "t", "counts")).toEqual(["InvalidError", "generator_needs_stream", "user"]);
  });

  it("lets what was spawned go on after its caller has ended, and ends what was awaited", async () => {
    const spawned = (await t.value("spawns", 1)) as string;
    expect(await t.ended(spawned)).toMatchObject({ state: "succeeded" });
    const id = await t.call("leaves", [30]);
    expect(await t.ended(id)).toMatchObject({ state: "succeeded" });
    const [child] = await t.state.invocations.list({ parent: id, limit: 10 });
    expect(await t.ended(child!.id)).toMatchObject({ state: "cancelled" });
  });

  it.each([
    ["remotes", [30], 1],
    ["pool", [3], 3],
  ])("cancels the tree below %s, and its caller at once", async (fn, args, count) => {
    const id = await t.call(fn, args);
    await running(id);
    const children = await childrenOf(id, count);
    const began = performance.now();
    await t.state.invocations.cancel(id);
    expect(await t.ended(id)).toMatchObject({ state: "cancelled" });
    expect(performance.now() - began).toBeLessThan(900); // without the grace of 1 s
    for (const child of children) expect(await t.ended(child.id)).toMatchObject({ state: "cancelled" });
  });
});
