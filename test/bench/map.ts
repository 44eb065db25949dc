/** Many inputs: a bare socket, BullMQ, a Redis stream, Ray where it is installed, and fabric's maps, from Python and over HTTP. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { bullmqQueue } from "../../core/bullmq-queue.ts";
import { type Child, startFabric, type TestFabric } from "../support/fabric.ts";
import { startRedis } from "../support/redis.ts";

const SIZES = [10_000, 100_000];
const SDK = fileURLToPath(new URL("../../sdk/python/src", import.meta.url));
const MAX_MEMORY_MIB = 1024;
const PROCESSES: Child[] = ["gateway", "runner", "redis"];

interface Row {
  name: string;
  inputs: number;
  perSecond: number;
  memory?: string;
}

export async function mapBench(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { engine: { type: "string", multiple: true } } });
  const engines = (values.engine ?? ["process"]) as ("docker" | "process")[];
  const rows: Row[] = [];
  const row: AddRow = async (name, inputs, act) => {
    const since = performance.now();
    const told = (await act()) ?? {};
    const { seconds = (performance.now() - since) / 1000, memory } = told;
    rows.push({ name, inputs, perSecond: inputs / seconds, memory });
  };

  await socketRow(row);
  await redisRows(row);
  await rayRow(row);
  for (const engine of engines) await fabricRows(engine, row);

  const base = rows[0]!.perSecond;
  console.log("| | inputs | inputs/s | ratio to the socket | memory |\n|---|---|---|---|---|");
  for (const { name, inputs, perSecond, memory = "" } of rows)
    console.log(`| ${name} | ${inputs} | ${perSecond.toFixed(0)} | ${(perSecond / base).toFixed(2)} | ${memory} |`);
}

/** What `act` does is timed, unless it tells its own time. */
type AddRow = (
  name: string,
  inputs: number,
  act: () => Promise<{ seconds?: number; memory?: string } | undefined>,
) => Promise<void>;

/** One line out, one line back, all in flight: what a process that does nothing else can take. */
async function socketRow(row: AddRow): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "fabric-bench-"));
  const server = createServer().listen(join(dir, "s"));
  const python = spawn("python3", ["-c", LINES, join(dir, "s")], { stdio: ["ignore", "ignore", "inherit"] });
  const [socket] = await once(server, "connection");
  await row("unix socket to one Python process", 100_000, async () => {
    let answered = 0;
    const all = new Promise<void>((resolve) =>
      socket.on("data", (data: Buffer) => {
        for (const byte of data) if (byte === 0x0a) answered++;
        if (answered === 100_000) resolve();
      }),
    );
    for (let i = 0; i < 100_000; i += 1000)
      socket.write(Array.from({ length: 1000 }, (_, k) => `[${i + k}]\n`).join(""));
    await all;
    return undefined;
  });
  socket.destroy();
  server.close();
  python.kill();
  await rm(dir, { recursive: true });
}

const LINES = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
rest = b""
while data := s.recv(65536):
    *lines, rest = (rest + data).split(b"\\n")
    if lines:
        s.sendall(b"".join(json.dumps(json.loads(line)[0]).encode() + b"\\n" for line in lines))
`;

async function redisRows(row: AddRow): Promise<void> {
  const redis = await startRedis({ appendonly: true, fsync: "everysec" });
  const connection = { url: redis.url, maxRetriesPerRequest: null };
  const bulk = new Queue("bench", { connection });
  await row("BullMQ addBulk", 100_000, async () => {
    for (let i = 0; i < 100_000; i += 1000)
      await bulk.addBulk(Array.from({ length: 1000 }, (_, k) => ({ name: "n", data: [i + k] })));
    return undefined;
  });
  await bulk.obliterate({ force: true });
  await bulk.close();
  const queue = bullmqQueue({ url: redis.url, prefix: "bench", lockMs: 30_000 });
  for (let i = 0; i < 20_000; i += 1000)
    await queue.add("a/f", ...Array.from({ length: 1000 }, (_, k) => ({ id: `inv_${i + k}`, generation: 1 })));
  const reader = await queue.open("a/f", "bench");
  await row("BullMQ drain, 64 in flight", 20_000, async () => {
    const drain = async (): Promise<void> => {
      for (let entry = await reader.next(); entry; entry = await reader.next()) await reader.acknowledge(entry);
    };
    await Promise.all(Array.from({ length: 64 }, drain));
    return undefined;
  });
  await reader.close();
  await queue.close();
  const stream = new Redis(redis.url);
  await row("Redis stream, add and read", 100_000, async () => {
    for (let i = 0; i < 100_000; i += 1000) {
      const pipeline = stream.pipeline();
      for (let k = 0; k < 1000; k++) pipeline.xadd("s", "*", "i", i + k);
      await pipeline.exec();
    }
    let from = "-";
    for (let read = 0; read < 100_000; ) {
      const page = await stream.xrange("s", from, "+", "COUNT", 1000);
      read += page.length;
      from = `(${page.at(-1)![0]}`;
    }
    return undefined;
  });
  stream.disconnect();
  await redis.close();
}

const RAY = `
import time, ray
ray.init(num_cpus=2, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
@ray.remote
def f(x): return x
ray.get([f.remote(i) for i in range(200)])
t = time.perf_counter()
ray.get([f.remote(i) for i in range(10000)])
print(time.perf_counter() - t)
`;

/** In the Python that FABRIC_BENCH_PYTHON names. */
async function rayRow(row: AddRow): Promise<void> {
  const python = process.env.FABRIC_BENCH_PYTHON ?? "python3";
  if ((await run(python, ["-c", "import ray"])).code !== 0) {
    console.log(`Ray is left out: ${python} has none (pip install ray, FABRIC_BENCH_PYTHON)\n`);
    return;
  }
  await row("Ray tasks", 10_000, async () => {
    const { stdout } = await run(python, ["-c", RAY]);
    return { seconds: Number(stdout.trim().split("\n").at(-1)) };
  });
}

const CLIENT = `
import json, resource, sys, time
import fabric_sdk as fabric
n = int(sys.argv[1])
echo = fabric.Function.from_name("probe", "echo")
t = time.perf_counter()
assert sum(1 for _ in echo.map(range(n))) == n
print(json.dumps({"seconds": time.perf_counter() - t, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
`;

async function fabricRows(engine: "docker" | "process", row: AddRow): Promise<void> {
  const fabric = await startFabric({
    engine,
    env: { FABRIC_LOG_LEVEL: "warn", FABRIC_REDIS_MAXMEMORY_MB: String(MAX_MEMORY_MIB) },
  });
  try {
    await fabric.json("deploy", "test/apps/probe.py");
    await python(fabric, 20_000);
    for (const inputs of SIZES)
      await row(`fabric .map from Python (${engine})`, inputs, async () => {
        const { seconds, mib } = await python(fabric, inputs);
        return { seconds, memory: `client ${mib} MiB, ${await residents(fabric)}` };
      });
    for (const inputs of SIZES)
      await row(`fabric map over HTTP (${engine})`, inputs, async () => {
        const body = Array.from({ length: inputs }, (_, i) => `[${i}]\n`).join("");
        const reply = await fabric.fetch("/v1/apps/probe/functions/echo/map", { method: "POST", body });
        const last = (await reply.text()).trimEnd().split("\n").at(-1)!;
        if (JSON.parse(last).state !== "succeeded") throw new Error(last);
        return { memory: await residents(fabric) };
      });
    await queuedBytes(fabric);
  } finally {
    await fabric.close();
  }
}

/** A Python client of its own: its time and its peak memory. */
async function python(fabric: TestFabric, inputs: number): Promise<{ seconds: number; mib: number }> {
  const ended = await run("python3", ["-c", CLIENT, String(inputs)], { ...fabric.env, PYTHONPATH: SDK });
  if (ended.code !== 0) throw new Error(ended.stderr);
  return JSON.parse(ended.stdout);
}

async function residents(fabric: TestFabric): Promise<string> {
  const parts = PROCESSES.map(async (child) => {
    const status = await readFile(`/proc/${await fabric.pid(child)}/status`, "utf8");
    const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
    return `${child} ${Math.round(peak / 1024)} MiB`;
  });
  return `peaks: ${(await Promise.all(parts)).join(", ")}`;
}

/** What an input costs Redis while nobody can run it. */
async function queuedBytes(fabric: TestFabric): Promise<void> {
  const app = join(await mkdtemp(join(tmpdir(), "fabric-bench-")), "waits.py");
  await writeFile(app, WAITS);
  await fabric.json("deploy", app);
  const path = "/v1/apps/waits/functions/never/map";
  const before = await redisBytes(fabric);
  const body = Array.from({ length: 100_000 }, (_, i) => `[${i}]\n`).join("");
  const reply = await fabric.fetch(path, { method: "POST", body, headers: { prefer: "respond-async" } });
  const { id } = (await reply.json()) as { id: string };
  const after = await redisBytes(fabric);
  console.log(`\nRedis: ${((after - before) / 100_000).toFixed(0)} bytes for each of 100,000 queued inputs`);
  await fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" });
}

const WAITS = `
import threading
import fabric_sdk as fabric
app = fabric.App("waits")

@app.function(max_containers=1)
def never(x: int) -> None:
    threading.Event().wait()
`;

async function redisBytes(fabric: TestFabric): Promise<number> {
  const metrics = await (await fabric.fetch("/metrics")).text();
  return Number(/^fabric_redis_memory_ratio (\S+)/m.exec(metrics)?.[1]) * MAX_MEMORY_MIB * 1024 * 1024;
}

async function run(command: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) child[name].on("data", (data) => (texts[name] += data));
  const [code] = await once(child, "close");
  return { code: code as number, ...texts };
}
