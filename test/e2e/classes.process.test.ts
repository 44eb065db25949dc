/** Classes, batches and concurrent inputs on a whole fabric, as users of HTTP, Python and the command line meet them. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../../core/run-command.ts";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const APP = fileURLToPath(new URL("../apps/classes.py", import.meta.url));
let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process" });
  await fabric.json("deploy", APP);
});
afterAll(() => fabric?.close());

const call = async (path: string, body: unknown = {}, headers: Record<string, string> = {}) => {
  const reply = await fabric.fetch(`/f/classes/${path}`, { method: "POST", body: JSON.stringify(body), headers });
  const id = reply.headers.get("fabric-invocation")!;
  return { status: reply.status, id, body: (await reply.json()) as any, headers: reply.headers };
};
const good = async (path: string, body: unknown = {}, headers: Record<string, string> = {}) => {
  const { status, ...told } = await call(path, body, headers);
  expect({ status, body: told.body }).toMatchObject({ status: 200 });
  return told;
};
const spawn = async (path: string, body: unknown = {}): Promise<string> =>
  (await call(path, body, { prefer: "respond-async" })).body.id;
const logged = (wanted: string, ...args: string[]): Promise<string> =>
  until(
    async () => {
      const { stdout } = await fabric.cli("logs", "classes", ...args);
      return stdout.includes(wanted) ? stdout : undefined;
    },
    20_000,
    `"${wanted}" is in the log`,
  );

describe("a class", () => {
  test("is entered once, its time counts as enter, and its methods share a container", async () => {
    const first = await good("Model.predict", { x: 3 });
    expect(first.body).toMatchObject({ size: "small", layers: 1, x: 3, entered: 1 });
    const enter = /enter;dur=(\d+)/.exec(first.headers.get("server-timing")!)![1];
    expect(Number(enter)).toBeGreaterThanOrEqual(200);
    const again = await good("Model.predict", { x: 4 });
    expect(again.body).toMatchObject({ entered: 1, pid: first.body.pid });
    expect((await good("Model.twice", [21])).body).toBe(42);
    const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
    expect(containers.filter((one: any) => one.function.startsWith("classes/Model"))).toHaveLength(1);
  });

  test("with other values has containers of its own, by query or header", async () => {
    const usual = (await good("Model.predict", { x: 1 })).body.pid;
    const large = (await good("Model.predict?size=large&layers=3", { x: 1 })).body;
    expect(large).toMatchObject({ size: "large", layers: 3 });
    expect(large.pid).not.toBe(usual);
    const parameters = { "fabric-parameters": '{"layers": 3, "size": "large"}' };
    expect((await good("Model.predict", { x: 2 }, parameters)).body.pid).toBe(large.pid);
    expect((await good("Model.predict?size=small", { x: 2 })).body.pid).toBe(usual);
  });

  test("with other options too, and a record says which", async () => {
    const usual = (await good("Model.predict", { x: 1 })).body.pid;
    const { id, body } = await good("Model.predict", { x: 1 }, { "fabric-options": '{"memory": 96, "timeout": 7}' });
    expect(body.pid).not.toBe(usual);
    expect(await fabric.record(id)).toMatchObject({
      function: "Model.predict",
      parameters: { size: "small", layers: 1 },
      options: { memory: 96, timeout: 7 },
    });
  });

  test.each([
    ["Model.predict?layers=many", {}, 422, "invalid_parameters", "'layers' is no int"],
    ["Model.predict?color=red", {}, 422, "invalid_parameters", "unknown parameter 'color'"],
    ["Needs.greet", {}, 422, "invalid_parameters", "missing parameter 'name'"],
    ["Needs.greet", { "fabric-parameters": "[1]" }, 400, "bad_request", "no JSON object"],
    ["Model.predict", { "fabric-options": '{"image": "x"}' }, 400, "bad_request", "image"],
    ["Model.predict", { "fabric-options": '{"gpu": "A100"}' }, 422, "resources_unavailable", "A100"],
    ["Model.predict", {}, 422, "invalid_arguments", "Model.predict: missing argument 'x'"],
    ["Model", {}, 404, "function_not_found", "Model.predict"],
    ["Model.nothing", {}, 404, "function_not_found", "Model.nothing"],
  ])("%s %j -> %i %s", async (path, headers, status, code, words) => {
    const reply = await call(path, {}, headers as Record<string, string>);
    expect(reply).toMatchObject({ status, body: { error: { code, message: expect.stringContaining(words) } } });
  });

  test("that cannot be entered fails its calls with the traceback", async () => {
    const { status, body } = await call("Broken.predict");
    expect({ status, body }).toMatchObject({ status: 500, body: { error: { code: "enter_failed", fault: "user" } } });
    expect(body.error.message).toContain("weights.bin");
    expect(body.error.details.traceback).toContain("classes.py");
  });

  test("is found by its name and its methods' in lists and logs, and left at the end", async () => {
    const { id } = await good("Model.twice", [5]);
    expect(await logged("twice 5", "--invocation", id)).toContain("Model.twice");
    expect(await logged("twice 5", "--function", "Model.twice")).not.toContain("loading");
    expect(await logged("loading large", "--function", "Model")).toContain("twice 5");
    const list = async (fn: string) =>
      ((await (await fabric.fetch(`/v1/invocations?app=classes&function=${fn}`)).json()) as any).invocations;
    expect(new Set((await list("Model.twice")).map((one: any) => one.function))).toEqual(new Set(["Model.twice"]));
    expect((await list("Model")).map((one: any) => one.function)).toContain("Model.predict");
    expect(await list("Mode")).toEqual([]);
    expect(await logged("leaving small")).toContain("leaving small");
  });

  test("with other values is adopted by a restarted runner, with what runs and what comes", async () => {
    const id = await spawn("Model.nap?size=kept", { seconds: 6 });
    await until(async () => (await fabric.record(id)).container, 20_000, "it is in a container");
    await fabric.kill9("runner");
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, parameters: { size: "kept" } });
    const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    expect((await good("Model.predict?size=kept", { x: 1 })).body).toMatchObject({
      size: "kept",
      pid: result,
      entered: 1,
    });
  });

  test("is called from Python with handles, by name, and inside its own code", async () => {
    const dir = await mkdtemp(join(tmpdir(), "fabric-py-"));
    await writeFile(
      join(dir, "client.py"),
      `
import sys
sys.path.insert(0, ${JSON.stringify(fileURLToPath(new URL("../apps", import.meta.url)))})
import fabric_sdk as modal
from classes import Model
small, large = Model(), Model(size="large")
assert small.predict.remote(1)["size"] == "small"
assert large.predict.remote(x=1)["size"] == "large"
assert large.twice.spawn(4).get(timeout=30) == 8
assert small.twice.local(4) == 8 and small.size == "small"
assert large.elsewhere.remote(1) == ["large", "large", "hello me"]
assert sorted(large.same.map(range(5))) == list(range(5))
big = Model.with_options(memory=80, timeout=9, max_containers=1)(layers=2)
assert big.predict.remote(1)["layers"] == 2
named = modal.Cls.from_name("classes", "Needs")
assert named(name="you").greet.remote() == "hello you"
try:
    small.fails.remote()
except KeyError as error:
    assert "predicted" in str(error)
else:
    raise SystemExit("no KeyError")
try:
    named(name=3).greet.remote()
except modal.InvalidError as error:
    assert error.code == "invalid_parameters", error
else:
    raise SystemExit("no error")
print("fine")
`,
    );
    const env = { ...fabric.env, PYTHONPATH: join(process.cwd(), "sdk/python/src") };
    const result = await runCommand("python3", [join(dir, "client.py")], { env: env as Record<string, string> });
    await rm(dir, { recursive: true });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout.endsWith("fine\n")).toBe(true);
  });
});

describe("the command line", () => {
  test("invokes a method with its class' parameters, and runs one without deploying", async () => {
    const words = ["invoke", "classes/Model.predict", "--parameter", "size=large", "--arg", "x=5"];
    const { stdout: result } = await fabric.cli(...words);
    expect(JSON.parse(result)).toMatchObject({ size: "large", x: 5 });
    const ran = await fabric.cli("run", `${APP}::Needs.greet`, "--name", "you", "--greeting", "bye");
    expect(ran).toMatchObject({ code: 0, stdout: '"bye you"\n' });
    const { stdout } = await fabric.cli("app", "show", "classes");
    expect(stdout).toContain("/f/classes/Model.predict");
  });

  test("a script's own class travels by value", async () => {
    const dir = await mkdtemp(join(tmpdir(), "fabric-py-"));
    await writeFile(
      join(dir, "script.py"),
      `
import fabric_sdk as modal
app = modal.App("scripted", image=modal.Image.python(".".join(__import__("platform").python_version_tuple()[:2])), memory=64)

@app.cls()
class Counter:
    start: int = modal.parameter(default=1)

    @modal.enter()
    def begin(self):
        self.at = self.start

    @modal.method()
    def add(self, n: int) -> int:
        self.at += n
        return self.at

if __name__ == "__main__":
    with app.run():
        counter = Counter(start=40)
        print(counter.add.remote(1), counter.add.remote(1))
`,
    );
    const env = { ...fabric.env, PYTHONPATH: join(process.cwd(), "sdk/python/src") };
    const result = await runCommand("python3", [join(dir, "script.py")], { env: env as Record<string, string> });
    await rm(dir, { recursive: true });
    expect({ ...result, stderr: "" }).toMatchObject({ code: 0, stdout: "41 42\n" });
  });
});

describe("a batched function", () => {
  test("fills its batches from a map", async () => {
    const body = Array.from({ length: 9 }, (_, x) => JSON.stringify({ x })).join("\n");
    const reply = await fabric.fetch("/v1/apps/classes/functions/squares/map", { method: "POST", body });
    const outcomes = (await reply.text())
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const squares = outcomes.filter((one) => "result" in one).map((one) => one.result[0]);
    expect(squares.sort((a, b) => a - b)).toEqual([0, 1, 4, 9, 16, 25, 36, 49, 64]);
  });

  test("gets lists, and each caller its own result", async () => {
    const replies = await Promise.all([2, 3, 4].map((x) => good("squares", { x })));
    expect(replies.map(({ body }) => body[0])).toEqual([4, 9, 16]);
    expect(Math.max(...replies.map(({ body }) => body[1]))).toBeGreaterThan(1);
    const sums = await Promise.all([1, 2, 3, 4].map((a) => good("Totals.add", { a, b: 1 })));
    expect(sums.map(({ body }) => body[0])).toEqual([2, 3, 4, 5]);
  });

  test("that fails, fails each input under its own retries", async () => {
    const ids = await Promise.all([spawn("squares", { x: -1 }), spawn("squares", { x: 5 })]);
    const records = await Promise.all(ids.map((id) => fabric.ended(id)));
    expect(records[0]).toMatchObject({ state: "failed", attempts: 2, error: { code: "exception" } });
  });
});

describe("concurrent inputs", () => {
  test("sixteen in one container, each with its own prints and its own failure", async () => {
    const ids = await Promise.all(Array.from({ length: 16 }, (_, x) => spawn("together", { x, seconds: 1 })));
    const records = await Promise.all(ids.map((id) => fabric.ended(id)));
    expect(new Set(records.map((one) => one.container)).size).toBe(1);
    const began = Math.max(...records.map((one) => Date.parse(one.startedAt!)));
    const over = Math.min(...records.filter((_, x) => x !== 13).map((one) => Date.parse(one.endedAt!)));
    expect(began).toBeLessThan(over);
    for (const [x, record] of records.entries()) expect(record.state).toBe(x === 13 ? "failed" : "succeeded");
    const log = await logged("input 7 ends", "--invocation", ids[7]!);
    expect(log.match(/input \d+/g)).toEqual(["input 7", "input 7"]);
  });

  test("coroutines too; a cancel and a timeout end only their own", async () => {
    const ids = await Promise.all([0.8, 30, 30, 1.2].map((seconds, x) => spawn("together_async", { x, seconds })));
    await until(async () => (await fabric.record(ids[1]!)).container, 20_000, "it is in a container");
    await fabric.fetch(`/v1/invocations/${ids[1]}/cancel`, { method: "POST" });
    const records = await Promise.all(ids.map((id) => fabric.ended(id)));
    expect(records.map((one) => one.error?.code ?? one.state)).toEqual([
      "succeeded",
      "cancelled",
      "timed_out",
      "succeeded",
    ]);
    expect(new Set(records.map((one) => one.container)).size).toBe(1);
  });

  test("target_inputs: more containers start before the first ones are full", async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, () => spawn("spread", { seconds: 3 })));
    const containers = async () =>
      ((await (await fabric.fetch("/v1/containers")).json()) as any).containers.filter(
        (one: any) => one.function === "classes/spread",
      );
    await until(async () => (await containers()).length === 2, 20_000, "two containers for four inputs");
    await Promise.all(ids.map((id) => fabric.ended(id)));
  });
});
