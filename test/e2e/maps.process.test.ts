/** Maps on a whole fabric, as users of Python, HTTP and the command line meet them. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Child, run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const SDK = fileURLToPath(new URL("../../sdk/python/src", import.meta.url));
let fabric: TestFabric;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fabric-maps-"));
  fabric = await startFabric({ engine: "process", app: "maps", env: { FABRIC_LEASE_MS: "3000" } });
  await fabric.json("deploy", "test/apps/maps.py");
});
afterAll(async () => {
  await fabric?.close();
  await rm(dir, { recursive: true, force: true });
});

async function python<T>(code: string): Promise<T> {
  const text = `import json, sys\nimport fabric_sdk as fabric\nf = lambda name: fabric.Function.from_name("maps", name)\n${code}`;
  const { code: exit, stdout, stderr } = await run("python3", ["-c", text], { ...fabric.env, PYTHONPATH: SDK });
  if (exit !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
const lines = (text: string): any[] =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
const numbers = (count: number): string => Array.from({ length: count }, (_, i) => `[${i}]\n`).join("");

test("20,000 inputs from Python come back in order; those that fail once are tried again", async () => {
  expect(
    await python("print(json.dumps(list(f('double').map(range(20_000))) == [2 * x for x in range(20_000)]))"),
  ).toBe(true);
  const code = `print(json.dumps(list(f("fails_once").map(range(20_000), kwargs={"folder": ${JSON.stringify(dir)}})) == list(range(20_000))))`;
  expect(await python(code)).toBe(true);
});

test("exceptions, pickles, methods with parameters and batches", async () => {
  expect(
    await python(`
told = [repr(value) for value in f("picky").map([1, -2, 3], return_exceptions=True)]
sets = [sorted(value) for value in f("set_of").map([(2, 1), (3, 3)])]
scaled = list(fabric.Cls.from_name("maps", "Scaler")(factor=3).times.map(range(5)))
batched = list(f("in_batches").map(range(50))) == list(range(1, 51))
try:
    list(f("picky").map([1, -2, 3]))
except ValueError as error:
    raised = str(error)
print(json.dumps([told, sets, scaled, batched, raised]))`),
  ).toEqual([["1", "ValueError('no -2')", "3"], [[1, 2], [3]], [0, 3, 6, 9, 12], true, "no -2"]);
});

test("a spawned map is read by another process", async () => {
  const id = await python<string>(`print(json.dumps(f("double").spawn_map(range(300)).id))`);
  expect(await python(`print(json.dumps(list(fabric.Invocation.from_id("${id}").results())))`)).toEqual(
    Array.from({ length: 300 }, (_, i) => 2 * i),
  );
});

test("an input that ends its container fails alone", async () => {
  const code = `print(json.dumps([getattr(v, "code", v) for v in f("mortal").map(range(40), return_exceptions=True)]))`;
  const told = await python<unknown[]>(code);
  expect(told[13]).toBe("container_crashed");
  expect(told.filter((_, i) => i !== 13)).toEqual(Array.from({ length: 40 }, (_, i) => i).filter((i) => i !== 13));
});

test("a runner that is killed in the middle costs no input its one outcome", async () => {
  const reply = await fabric.fetch("/v1/apps/maps/functions/slow/map", {
    ...{ method: "POST", body: numbers(1_500), headers: { prefer: "respond-async" } },
  });
  const { id } = (await reply.json()) as any;
  await until(async () => (await fabric.record(id)).inputs.done > 100, 20_000, "it is in the middle");
  await fabric.kill9("runner");
  const told = lines(await (await fabric.fetch(`/v1/invocations/${id}/results`)).text());
  expect(told.pop()).toMatchObject({ ended: true, state: "succeeded", inputs: 1_500, failed: 0 });
  expect(told.map(({ index }) => index).sort((a, b) => a - b)).toEqual(Array.from({ length: 1_500 }, (_, i) => i));
});

test("the command line maps over a file, shows an input, and redrives what failed", async () => {
  const [input, output] = [join(dir, "in.ndjson"), join(dir, "out.ndjson")];
  await writeFile(input, '[1]\n{"x": -2}\n\n[3]\n');
  const mapped = await fabric.cli("map", "maps/picky", input, "--output", output);
  expect(mapped).toMatchObject({ code: 1, stdout: "" });
  expect(lines(await readFile(output, "utf8"))).toMatchObject([
    { index: 0, result: 1 },
    { index: 1, error: { code: "exception", message: "ValueError: no -2" } },
    { index: 2, result: 3 },
  ]);
  expect((await fabric.cli("map", "maps/picky", join(dir, "none"))).code).toBe(2);
  await writeFile(input, "[1]\nnonsense\n");
  expect(await fabric.cli("map", "maps/picky", input)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("line 2"),
  });
  await writeFile(input, "[4]\n[5]\n");
  const good = await fabric.cli("map", "maps/picky", input, "--unordered");
  expect(good.code).toBe(0);
  expect(lines(good.stdout).sort((a, b) => a.index - b.index)).toEqual([
    { index: 0, result: 4 },
    { index: 1, result: 5 },
  ]);

  const { invocations } = await fabric.json<any>("invocation", "list", "--function", "picky", "--state", "failed");
  const { id } = invocations.find((one: any) => one.inputs.total === 3 && one.inputs.failed === 1);
  expect(await fabric.json("invocation", "show", id, "--input", "1")).toMatchObject({ state: "failed", index: 1 });
  const { redriven } = await fabric.json<any>("invocation", "show", id).then(async () => {
    const told = await fabric.cli("invocation", "redrive", id, "--json");
    return JSON.parse(told.stdout);
  });
  expect(await fabric.ended(redriven[0].id)).toMatchObject({
    state: "failed",
    redrivenFrom: id,
    inputs: { total: 1, failed: 1 },
  });
});

test("100,000 inputs over HTTP leave gateway and runner small", async () => {
  const reply = await fabric.fetch("/v1/apps/maps/functions/double/map", { method: "POST", body: numbers(100_000) });
  const text = await reply.text();
  expect(JSON.parse(text.trimEnd().split("\n").at(-1)!)).toMatchObject({ state: "succeeded", inputs: 100_000 });
  for (const child of ["gateway", "runner"] as Child[]) {
    const status = await readFile(`/proc/${await fabric.pid(child)}/status`, "utf8");
    expect(Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1024).toBeLessThan(300);
  }
});
