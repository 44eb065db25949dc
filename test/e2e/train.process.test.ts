/** A script in Ray Train's words, run by plain Python: it trains on fabric, survives failures and its caller, and resumes. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const SCRIPT = `
import os, sys, tempfile, time
import fabric_sdk as ray
import fabric_sdk.train
from fabric_sdk.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from fabric_sdk.train.torch import TorchTrainer
from beside import FACTOR

def loop(config):
    done, saved = 0, ray.train.get_checkpoint()
    if saved:
        with saved.as_directory() as folder:
            done = int(open(os.path.join(folder, "epoch")).read())
    data = ray.train.get_dataset_shard("train")
    for epoch in range(done + 1, config["epochs"] + 1):
        total = sum(sum(batch["x"]) for batch in data.iter_batches(batch_size=2)) * FACTOR
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "epoch"), "w").write(str(epoch))
            ray.train.report({"epoch": epoch, "loss": 1 / epoch, "total": float(total)}, checkpoint=Checkpoint.from_directory(folder))
        if epoch == config.get("fails_at") and done == 0: raise ValueError("fell over")
        if config.get("waits"):
            print("it waits", flush=True)
            while not os.path.exists(config["waits"]): time.sleep(0.05)
    return [done, epoch]

if __name__ == "__main__":
    ray.init()
    name, epochs, failures, fails_at, waits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    trainer = TorchTrainer(loop, train_loop_config={"epochs": epochs, "fails_at": fails_at, "waits": waits},
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.2, "memory": 128 * 2**20}),
        run_config=RunConfig(name=name, storage_path="s3://anywhere", failure_config=FailureConfig(max_failures=failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")),
        datasets={"train": "data.csv"})
    try:
        result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        print("failed:", repr(error.worker_failures))
        sys.exit(3)
    best = result.get_best_checkpoint("loss", "min")
    print("result", result.metrics["epoch"], result.metrics["total"], result.return_value, best.metrics["epoch"],
        len(result.best_checkpoints), ray.train.Result.from_path(result.path).metrics["epoch"])
    ray.shutdown()
`;

/** Rank 1 ends in the second epoch of its first attempt: by a signal, as if from outside, or by an exception. */
const RANKS = `
import os, signal, sys, tempfile
from fabric_sdk import train
from fabric_sdk.train.data_parallel_trainer import DataParallelTrainer

def loop(config):
    context, saved, done = train.get_context(), train.get_checkpoint(), 0
    rank = context.get_world_rank()
    if saved:
        with saved.as_directory() as folder: done = int(open(os.path.join(folder, "rank-0")).read())
    rows = [row["item"] for row in train.get_dataset_shard("train").iter_rows()]
    for epoch in range(done + 1, 4):
        if epoch == 2 and rank == 1 and done == 0 and config["ends"]:
            if config["ends"] == "raises": raise ValueError("fell over")
            os.kill(os.getpid(), signal.SIGKILL)
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, f"rank-{rank}"), "w").write(str(epoch))
            train.report({"epoch": epoch, "rank": rank, "sum": sum(rows)}, checkpoint=train.Checkpoint.from_directory(folder))
    return [context.get_world_size(), context.get_local_world_size(), context.get_node_rank(), done]

if __name__ == "__main__":
    name, ends, placement = sys.argv[1:]
    trainer = DataParallelTrainer(loop, train_loop_config={"ends": ends}, run_config=train.RunConfig(name=name),
        scaling_config=train.ScalingConfig(num_workers=2, placement_strategy=placement,
            resources_per_worker={"CPU": 0.2, "memory": 128 * 2**20}), datasets={"train": [1, 2, 3, 4]})
    try:
        result = trainer.fit()
    except train.WorkerGroupError as error:
        print("failed:", {rank: str(one) for rank, one in error.worker_failures.items() if rank == 1})
    else:
        files = sorted(os.listdir(result.checkpoint.path))
        print("result", result.metrics, result.return_value, files, len(result.best_checkpoints))
`;

let fabric: TestFabric;
let folder: string;
let file: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fab-train-"));
  file = join(folder, "script.py");
  await writeFile(file, SCRIPT);
  await writeFile(join(folder, "beside.py"), "FACTOR = 10\n");
  await writeFile(join(folder, "data.csv"), "x,y\n1,a\n2,b\n3,c\n");
  fabric = await startFabric({ engine: "process" });
  env = { ...fabric.env, PYTHONPATH: join(process.cwd(), "sdk/python/src") };
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

const words = (name: string, epochs: number, failures = 0, failsAt = 0, waits = "") =>
  [file, name, epochs, failures, failsAt, waits].map(String);
const train = (...given: Parameters<typeof words>) => run("python3", words(...given), env);

test.concurrent("a script trains and gives its result; a run of the same name goes on where it ended", async () => {
  const { code, stdout, stderr } = await train("first", 2);
  expect({ code, stdout }, stderr).toEqual({
    code: 0,
    stdout: "result 2 60.0 [0, 2] 2 2 2\n",
  });
  expect(stderr).toContain("storage_path='s3://anywhere' is not used");
  const again = await train("first", 3);
  expect(again.code, again.stderr).toBe(0);
  expect(again.stdout).toContain("result 3 60.0 [2, 3] 3 2 3\n");
});

test.concurrent("a failure is raised by rank, or survived as often as it may be", async () => {
  const failed = await train("fails", 2, 0, 1);
  expect(failed.code, failed.stderr).toBe(3);
  expect(failed.stdout).toContain("failed: {0: ValueError('fell over')}");
  const survived = await train("survives", 2, 1, 1);
  expect(survived.code, survived.stderr).toBe(0);
  expect(survived.stdout).toContain("result 2 60.0 [1, 2]");
});

test.concurrent("two ranks save one checkpoint together; when one is killed they go on from it, when one raises it is named", async () => {
  const script = join(folder, "ranks.py");
  await writeFile(script, RANKS);
  const ranks = (...given: string[]) => run("python3", [script, ...given], env);
  const killed = await ranks("killed", "killed", "PACK");
  expect(killed.stdout, killed.stderr).toBe(
    "result {'epoch': 3, 'rank': 0, 'sum': 4} [2, 2, 0, 1] ['rank-0', 'rank-1'] 3\n",
  );
  const raised = await ranks("raised", "raises", "SPREAD");
  expect(raised.stdout, raised.stderr).toBe("failed: {1: 'fell over'}\n");
});

test.concurrent("it outlives its caller, and fit() of its name waits for it", async () => {
  const signal = join(folder, "go");
  const child = spawn("python3", words("outlives", 1, 0, 0, signal), { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const gone = new Promise((resolve) => child.once("close", resolve));
  await until(() => output.includes("it waits"), 60_000, "it trains");
  child.kill("SIGKILL");
  await gone;
  const second = spawn("python3", words("outlives", 1, 0, 0, signal), { env, stdio: ["ignore", "pipe", "pipe"] });
  let later = "";
  for (const stream of [second.stdout, second.stderr]) stream.on("data", (data) => (later += data));
  const code = new Promise((resolve) => second.once("close", resolve));
  await until(() => later.includes("outlives runs already"), 60_000, "it is found");
  await writeFile(signal, "");
  expect(await code, later).toBe(0);
  expect(later).toContain("result 1 60.0 [0, 1]");
});

test.concurrent("inside a function it runs in place, and more ranks than there are are refused", async () => {
  const app = join(folder, "inplace.py");
  await writeFile(
    app,
    `import fabric_sdk as fabric
from fabric_sdk import train
from fabric_sdk.train.torch import TorchTrainer
app = fabric.App("inplace", cpu=0.2, memory=128, network="none")
def loop(): train.report({"rank": train.get_context().get_world_rank()})
@app.function()
def f(workers: int = 1):
    result = TorchTrainer(loop, scaling_config=train.ScalingConfig(num_workers=workers)).fit()
    return result.metrics
`,
  );
  await fabric.json("deploy", app);
  const call = (body: string) => fabric.fetch("/f/inplace/f", { method: "POST", body });
  expect(await (await call("{}")).json()).toEqual({ rank: 0 });
  const refused = (await (await call('{"workers": 2}')).json()) as any;
  expect(refused.error.message).toContain("num_workers is 2, but this function has 1 rank");
});

test.concurrent("`fabric run` trains from an entrypoint; Ctrl-C says that it goes on; a file that trains while it is imported is refused", async () => {
  const app = join(folder, "entry.py");
  const text = `import sys, time
import fabric_sdk as fabric
from fabric_sdk import train
from fabric_sdk.train.torch import TorchTrainer
from beside import FACTOR
app = fabric.App("entry", memory=128)
@app.function()
def other(): pass
def loop(config):
    train.report({"factor": FACTOR})
    print("it waits", flush=True)
    time.sleep(config["seconds"])
def trainer(seconds): return TorchTrainer(loop, train_loop_config={"seconds": seconds},
    scaling_config=train.ScalingConfig(resources_per_worker={"CPU": 0.2, "memory": 128 * 2**20}), run_config=train.RunConfig(name=f"entry-{seconds}"))
@app.local_entrypoint()
def main(seconds: int = 0): print("factor", trainer(seconds).fit().metrics["factor"])
`;
  await writeFile(app, text);
  const ran = await fabric.cli("run", `${app}::main`);
  expect(ran.code, ran.stderr).toBe(0);
  expect(ran.stdout).toContain("factor 10\n");

  await writeFile(join(folder, "go.py"), "import entry\nentry.main(600)\n");
  const child = spawn("python3", [join(folder, "go.py")], { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const gone = new Promise((resolve) => child.once("close", resolve));
  await until(() => output.includes("it waits"), 60_000, "it trains");
  child.kill("SIGINT");
  await gone;
  const [, id] = /interrupted: the training goes on as (inv_\w+)/.exec(output) ?? [];
  expect(id, output).toBeDefined();
  expect(await fabric.record(id!)).toMatchObject({ state: "running" });
  await fabric.cli("invocation", "cancel", id!);

  await writeFile(app, `${text}trainer(0).fit()\n`);
  const refused = await fabric.cli("deploy", app);
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain("fit() was called while the file is imported");
});
