/** Two ranks train the same small BERT under fabric, torchrun and, with --ray, Ray, all from one image: starts, faults, memory. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ROOT, run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const FAULTS = ["", "exception", "kill"] as const;
type Fault = (typeof FAULTS)[number];
/** Moments of CLOCK_MONOTONIC in seconds, in the order they were told. */
type Events = Record<string, number[]>;

interface Outcome {
  events: Events;
  began: number;
  ended: number;
  loss: string;
  /** Bytes of the processes that train, at their most. */
  peakBytes: number;
}

const now = (): number => Number(process.hrtime.bigint()) / 1e9;
const docker = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await run("docker", args, process.env);
  if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
};

export async function trainBench(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { ray: { type: "boolean", default: false }, kills: { type: "string", default: "10" } },
  });
  const fabric = await startFabric({
    engine: "docker",
    app: "small_bert",
    env: { FABRIC_LOG_LEVEL: "warn", BENCH_TRAIN_PACKAGES: values.ray ? "ray[train]" : "" },
  });
  try {
    console.log("deploying: the first image takes minutes");
    await fabric.json("deploy", "test/apps/small_bert.py");
    const first = await onFabric(fabric, "warm", "");
    console.log(`first call, containers and imports included: ${(first.ended - first.began).toFixed(1)} s\n`);
    console.log(HEAD);
    const losses = new Set([first.loss]);
    const show = async (name: string, act: (fault: Fault) => Promise<Outcome>) => {
      const outcomes: Outcome[] = [];
      for (const fault of FAULTS) outcomes.push(await act(fault));
      for (const { loss } of outcomes) losses.add(loss);
      console.log(row(name, outcomes));
    };
    await show("fabric", (fault) => onFabric(fabric, `bench-${fault}`, fault));
    const plane = await bytesOf(await Promise.all((["gateway", "runner", "redis"] as const).map(fabric.pid)));
    const image = await docker("inspect", "-f", "{{.Image}}", (await containersOf(fabric))[0]!);
    await show("torchrun", (fault) => inContainer(image, TORCHRUN, "torchrun", fault));
    if (values.ray) await show("Ray", (fault) => inContainer(image, ["python"], "ray", fault));
    else console.log("\nRay is left out: --ray installs it into the image, beside torch");
    console.log(`\nfinal losses: ${[...losses].join(", ")}`);
    console.log(`gateway, runner and Redis: ${mib(plane)} MiB PSS`);
    await kills(fabric, Number(values.kills), first.loss);
  } finally {
    await fabric.close();
  }
}

/** Each has to go on from the checkpoint of epoch 1, and to end on the loss of a run without a fault. */
async function kills(fabric: TestFabric, times: number, loss: string): Promise<void> {
  let resumed = 0;
  for (let i = 0; i < times; i++) {
    const outcome = await onFabric(fabric, `kill-${i}`, "kill");
    if (outcome.loss === loss && outcome.events.resumed?.length === 1) resumed++;
  }
  console.log(`${resumed} of ${times} runs whose rank 1 was killed resumed and ended on the same loss`);
  if (resumed < times) process.exitCode = 1;
}

const HEAD = [
  "| | to the function | to the first step | whole run | exception to training again | kill -9 to training again | result after rank 0 | peak memory |",
  "|---|---|---|---|---|---|---|---|",
].join("\n");

function row(name: string, [plain, raised, killed]: Outcome[]): string {
  const seconds = (value: number) => `${value.toFixed(2)} s`;
  const { began, ended, events, peakBytes } = plain!;
  const again = (outcome: Outcome) => outcome.events.step!.at(-1)! - outcome.events.fault![0]!;
  const cells = [events.running![0]! - began, events.step![0]! - began, ended - began, again(raised!), again(killed!)];
  return `| ${[name, ...[...cells, ended - events.returns![0]!].map(seconds), `${mib(peakBytes)} MiB`].join(" | ")} |`;
}

async function onFabric(fabric: TestFabric, name: string, fault: Fault): Promise<Outcome> {
  const began = now();
  const call = fabric.call("train", { name, fault }, { prefer: "wait=300" });
  const peak = peakWhile(call, async () => pidsIn(await containersOf(fabric)));
  const { status, body, headers } = await call;
  const ended = now();
  if (status !== 200) throw new Error(`train answered ${status}: ${JSON.stringify(body)}`);
  const id = headers.get("fabric-invocation")!;
  const events = await until(
    async () => {
      const { stdout } = await fabric.cli("logs", id);
      const found = eventsIn(stdout.split("\n"));
      return found.events.returns && found;
    },
    30_000,
    "its lines are there",
  );
  return { ...events, began, ended, peakBytes: await peak };
}

/** Debian's torch has no libuv, which torchrun's own stores ask for: ranks find each other by a file. */
const TORCHRUN = [
  "python -m torch.distributed.run --nproc-per-node 2 --max-restarts 3 --local-addr 127.0.0.1",
  "--rdzv-backend c10d --rdzv-endpoint /tmp/rendezvous --rdzv-conf store_type=file",
].flatMap((part) => part.split(" "));
/** Without the second one, half of torchrun's restarts hang (pytorch#135712). */
const TORCHRUN_ENV = ["-e", "OMP_NUM_THREADS=1", "-e", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"];

/** In a container that runs already, as fabric's do. */
async function inContainer(image: string, command: string[], name: string, fault: Fault): Promise<Outcome> {
  const out = await mkdtemp(join(tmpdir(), "fabric-bench-"));
  const mounts = ["-v", `${join(ROOT, "test/apps/small_bert.py")}:/job/small_bert.py:ro`, "-v", `${out}:/out`];
  const made = ["--network", "none", "--shm-size", "2g", ...mounts, ...TORCHRUN_ENV, image, "sleep", "infinity"];
  const container = await docker("run", "-d", "--rm", "--init", ...made);
  try {
    const began = now();
    const child = spawn("docker", ["exec", container, ...command, "/job/small_bert.py", name, "/out", fault], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const lines: string[] = [];
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", (line) => lines.push(line));
    const exited = new Promise<number | null>((resolve) => child.on("close", resolve));
    const peak = peakWhile(exited, () => pidsIn([container]));
    const code = await exited;
    if (code !== 0) throw new Error(`${name} ended with ${code}:\n${lines.slice(-30).join("\n")}`);
    return { ...eventsIn(lines), began, ended: now(), peakBytes: await peak };
  } finally {
    await docker("rm", "-f", container);
    await rm(out, { recursive: true, force: true });
  }
}

/** What `tell` in test/apps/small_bert.py printed; a first step of epoch 2 says that a checkpoint was resumed. */
function eventsIn(lines: string[]): { events: Events; loss: string } {
  const events: Events = {};
  let loss = "";
  for (const line of lines) {
    const [, event = "", at = "", detail = ""] = /BENCH (\w+) (\S+) ?(\S*)/.exec(line) ?? [];
    if (event === "") continue;
    const names = event === "step" && detail === "1" ? [event, "resumed"] : [event];
    for (const name of names) events[name] = [...(events[name] ?? []), Number(at)];
    if (event === "returns") loss = detail;
  }
  return { events, loss };
}

const containersOf = async (fabric: TestFabric): Promise<string[]> => {
  const { nodes } = (await (await fabric.fetch("/v1/nodes")).json()) as { nodes: { id: string }[] };
  const ids = await docker("ps", "-q", "--filter", `label=fabric.node=${nodes[0]!.id}`);
  return ids.split("\n").filter((one) => one !== "");
};

async function pidsIn(containers: string[]): Promise<number[]> {
  const tops = await Promise.all(containers.map((one) => docker("top", one, "-eo", "pid")));
  return tops.flatMap((top) => top.split("\n").slice(1).map(Number));
}

const SAMPLE_MS = 250;

async function peakWhile(act: Promise<unknown>, pids: () => Promise<number[]>): Promise<number> {
  let over = false;
  const end = () => {
    over = true;
  };
  act.then(end, end);
  let peak = 0;
  while (!over) {
    peak = Math.max(peak, await bytesOf(await pids()));
    await pause(SAMPLE_MS);
  }
  return peak;
}

/** Proportional set sizes, so that pages which forked processes share count once; one that has ended counts nothing. */
async function bytesOf(pids: number[]): Promise<number> {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "")));
  return texts.reduce((sum, text) => sum + Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024, 0);
}

const mib = (bytes: number): string => (bytes / 1024 ** 2).toFixed(0);
