/** Generators as their callers see them, on the process engine: whatever dies, whoever is slow, however much it is. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Child, run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", env: { FABRIC_CANCEL_GRACE_MS: "1000" } });
  await fabric.json("deploy", "test/apps/probe.py");
});
afterAll(() => fabric?.close());

type Line = {
  type: string;
  id: string;
  value?: unknown;
  state?: string;
  generation?: number;
  error?: { code: string };
};

/** Reads JSON lines until `enough` says so, or to the end. */
async function read(response: Response, enough: (line: Line) => boolean = () => false): Promise<Line[]> {
  const found: Line[] = [];
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of response.body!) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === "") continue;
      found.push(JSON.parse(line));
      if (enough(found.at(-1)!)) return found;
    }
  }
  return found;
}

const LINES = { accept: "application/x-ndjson" };
const open = (fn: string, body: unknown, headers: Record<string, string> = LINES) =>
  fabric.fetch(`/f/probe/${fn}`, { method: "POST", body: JSON.stringify(body), headers });
const events = (id: string, after?: string) =>
  fabric.fetch(`/v1/invocations/${id}/events`, {
    headers: after === undefined ? LINES : { ...LINES, "last-event-id": after },
  });
const valuesOf = (lines: Line[]) => lines.filter(({ type }) => type === "chunk").map(({ value }) => value);
const count = (n: number, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);
const memory = async (child: Child, field: "VmRSS" | "VmHWM"): Promise<number> => {
  const status = await readFile(`/proc/${await fabric.pid(child)}/status`, "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)![1]) / 1024;
};

test("server-sent events of a generator, and of a function that is none", async () => {
  const reply = await open("counts", { n: 2 }, { accept: "text/event-stream" });
  expect(reply.headers.get("content-type")).toBe("text/event-stream");
  const id = reply.headers.get("fabric-invocation");
  const text = await reply.text();
  expect(text).toContain("event: chunk\nid: 1-0\ndata: 0\n\nevent: chunk\nid: 1-1\ndata: 1\n\nevent: end\n");
  expect(text).toMatch(new RegExp(`data: {"id":"${id}","state":"succeeded","result":null}\n\n$`));
  const plain = await read(await open("add", { a: 1 }));
  expect(plain.at(-1)).toMatchObject({ type: "end", state: "succeeded", result: 2 });
  expect(valuesOf(await read(await open("acounts", { n: 3 })))).toEqual([0, 1, 2]);
  const refused = await open("counts", { n: 2 }, {});
  expect(refused.status).toBe(406);
});

test("a reader goes on behind the last chunk it saw after the gateway was killed", async () => {
  const first = await open("counts", { n: 200, pause: 0.02 });
  const id = first.headers.get("fabric-invocation")!;
  const seen = await read(first, (line) => line.id === "1-20");
  await fabric.kill9("gateway");
  const rest = await read(await events(id, seen.at(-1)!.id));
  expect([...valuesOf(seen), ...valuesOf(rest)]).toEqual(count(200));
  expect(valuesOf(await read(await events(id)))).toEqual(count(200));
  for (const bad of ["x", "1", "2-0"]) expect((await events(id, bad)).status).toBe(400);
});

test("a runner that is killed takes the generator up again where it was, without a restart", async () => {
  const reply = await open("counts", { n: 300, pause: 0.02 });
  const id = reply.headers.get("fabric-invocation")!;
  await read(reply, (line) => line.id === "1-20");
  await fabric.kill9("runner");
  const all = await read(await events(id));
  expect(valuesOf(all)).toEqual(count(300));
  expect(all.filter(({ type }) => type === "restart")).toEqual([]);
  expect(await fabric.record(id)).toMatchObject({ state: "succeeded", attempts: 1 });
});

test("an attempt that follows a failed one announces itself and begins at 0", async () => {
  const lines = await read(await open("counts_anew", { n: 4 }));
  const told = lines.filter(({ type }) => type !== "state");
  expect(told.map(({ type, id, generation }) => (type === "restart" ? `restart ${generation}` : id))).toEqual([
    ...["1-0", "1-1", "restart 2", "2-0", "2-1", "2-2", "2-3", lines.at(-1)!.id],
  ]);
  expect(lines.at(-1)).toMatchObject({ type: "end", result: "whole" });
  const id = lines.at(-1)!.id;
  expect((await read(await events(id, "1-0"))).filter(({ type }) => type === "restart")).toHaveLength(1);
});

test("cancelling ends it in mid-stream; hanging up does not", async () => {
  const reply = await open("counts", { n: 10_000, pause: 0.01 });
  const id = reply.headers.get("fabric-invocation")!;
  const leaving = await open("counts", { n: 100, pause: 0.01 });
  await read(reply, (line) => line.id === "1-3");
  await read(leaving, (line) => line.id === "1-3");
  await fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" });
  const end = (await read(await events(id, "1-3"))).at(-1);
  expect(end).toMatchObject({ type: "end", state: "cancelled", error: { code: "cancelled" } });
  expect(await fabric.ended(leaving.headers.get("fabric-invocation")!)).toMatchObject({ state: "succeeded" });
});

test("a slow reader of 200 MB holds up neither the generator nor the gateway's memory", async () => {
  const reply = await open("counts", { n: 400, size: 500_000 });
  const id = reply.headers.get("fabric-invocation")!;
  const reader = reply.body!.getReader();
  await reader.read();
  const before = await memory("gateway", "VmRSS");
  await fabric.ended(id, 120_000);
  expect((await memory("gateway", "VmRSS")) - before).toBeLessThan(40);
  let bytes = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) bytes += piece.value.length;
  expect(bytes).toBeGreaterThan(400 * 500_000);
}, 180_000);

test("100,000 chunks leave little in Redis and in the runner", async () => {
  const both = async () => ({ redis: await memory("redis", "VmRSS"), runner: await memory("runner", "VmRSS") });
  const before = await both();
  const most = { ...before };
  const watch = setInterval(() => {
    void both().then(({ redis, runner }) => {
      most.redis = Math.max(most.redis, redis);
      most.runner = Math.max(most.runner, runner);
    });
  }, 100);
  const began = performance.now();
  const values = valuesOf(await read(await open("counts", { n: 100_000 })));
  const seconds = (performance.now() - began) / 1000;
  clearInterval(watch);
  expect(values).toEqual(count(100_000));
  const grown = { redis: most.redis - before.redis, runner: most.runner - before.runner };
  console.log(`100,000 chunks in ${seconds.toFixed(1)} s; grown at most, in MiB: ${JSON.stringify(grown)}`);
  expect(grown.redis).toBeLessThan(32);
  expect(grown.runner).toBeLessThan(96);
}, 120_000);

test("Python reads on through a gateway's death, and cancels what it leaves", async () => {
  const dir = await mkdtemp(join(tmpdir(), "fabric-gen-"));
  await writeFile(
    join(dir, "client.py"),
    `import sys, fabric_sdk as fabric
f = fabric.Function.from_name("probe", "counts").remote_gen
for i, value in enumerate(f(300, pause=0.02)):
    assert i == value
    if i == 10: print("going", flush=True)
print("all", i + 1)
for value in f(300, pause=0.02):
    if value == 3: break
try:
    for value in fabric.Function.from_name("probe", "counts_anew").remote_gen(4): print(value)
except fabric.GeneratorRestarted as error: print(error.code)
`,
  );
  const env = { ...fabric.env, PYTHONPATH: join(process.cwd(), "sdk/python/src") };
  const client = run("python3", [join(dir, "client.py")], env);
  await until(
    async () => (await fabric.json<any>("invocation", "list")).invocations[0].state === "running",
    20_000,
    "it runs",
  );
  await fabric.kill9("gateway");
  const { stdout, stderr } = await client;
  expect(stderr).toBe("");
  expect(stdout).toBe("going\nall 300\n(0, 0)\n(0, 1)\ngenerator_restarted\n");
  const { invocations } = await fabric.json<any>("invocation", "list", "--function", "counts", "--limit", "1");
  expect(await fabric.ended(invocations[0].id)).toMatchObject({ state: "cancelled" });
  await rm(dir, { recursive: true });
});

test("fabric invoke --follow prints a value a line", async () => {
  const { code, stdout } = await fabric.cli("invoke", "probe/counts", "--arg", "n=3", "--arg", "size=2", "--follow");
  expect([code, stdout]).toEqual([0, '{"n":0,"x":"xx"}\n{"n":1,"x":"xx"}\n{"n":2,"x":"xx"}\n']);
});
