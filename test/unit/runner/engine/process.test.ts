/** What only the process engine does: bounded logs, memory by address space, children that ran away, a broken wrapper. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import type { ContainerSpec } from "../../../../core/engine.ts";
import { newId } from "../../../../core/ids.ts";
import { runCommand } from "../../../../core/run-command.ts";
import { processEngine } from "../../../../runner/engine/process.ts";
import { boundLog, logEnd } from "../../../../runner/engine/process-state.ts";
import { signalTo } from "../../../../runner/engine/process-tree.ts";

const dataDir = mkdtempSync(join(tmpdir(), "process-unit-"));
const image = join(dataDir, "image");
const { code } = await runCommand("python3", ["-m", "venv", "--without-pip", image]);
if (code !== 0) throw new Error("python3 -m venv failed");
const engine = processEngine({ dataDir });
const started: string[] = [];

afterEach(async () => {
  for (const id of started.splice(0)) await engine.remove(id);
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

async function start(script: string, more: Partial<ContainerSpec> = {}): Promise<ContainerSpec> {
  const id = newId("con");
  const scratchDir = join(dataDir, "scratch", id);
  mkdirSync(scratchDir, { recursive: true });
  const folders = { socketDir: scratchDir, bundleDir: scratchDir, sdkDir: scratchDir, scratchDir };
  const spec: ContainerSpec = {
    id,
    labels: {},
    image,
    command: ["python", "-c", script],
    env: {},
    ...folders,
    network: "egress",
    gpus: [],
    ...more,
  };
  started.push(id);
  await engine.start(spec);
  return spec;
}

const written = (path: string) =>
  expect.poll(() => existsSync(path) && readFileSync(path, "utf8"), { timeout: 10_000 });

test("a memory limit bounds address space", async () => {
  const { id } = await start("x = b'x' * (400 * 1024 * 1024)", { memoryLimitBytes: 256 * 1024 * 1024 });
  expect(await engine.wait(id)).toEqual({ code: 1, outOfMemory: false });
  expect(await engine.tail(id, 200)).toContain("MemoryError");
});

test("GPUs are named to CUDA, variables of the image are set", async () => {
  writeFileSync(join(image, "variables.json"), JSON.stringify({ FROM_IMAGE: "yes" }));
  const { id } = await start("import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['FROM_IMAGE'])", {
    gpus: ["GPU-a", "GPU-b"],
  });
  await engine.wait(id);
  rmSync(join(image, "variables.json"));
  expect(await engine.tail(id, 200)).toBe("GPU-a,GPU-b yes\n");
});

test("remove also ends a child that left the group", async () => {
  const spec = await start(
    "import subprocess,time,os\nchild = subprocess.Popen(['sleep', '600'], start_new_session=True)\nopen('new','w').write(str(child.pid)); os.rename('new', 'child')\ntime.sleep(600)",
  );
  const file = join(spec.scratchDir, "child");
  await written(file).toMatch(/^\d+$/);
  await engine.remove(spec.id);
  await expect.poll(() => isSleeping(Number(readFileSync(file, "utf8"))), { timeout: 5_000 }).toBe(false);
});

/** A killed child may stay a zombie until init takes note of it. */
function isSleeping(pid: number): boolean {
  const path = `/proc/${pid}/stat`;
  return signalTo(pid, 0) && existsSync(path) && !/\) Z /.test(readFileSync(path, "utf8"));
}

test("what is left running in the group ends with the main process", async () => {
  const spec = await start("import subprocess\nopen('child','w').write(str(subprocess.Popen(['sleep', '600']).pid))");
  expect((await engine.wait(spec.id))?.code).toBe(0);
  const pid = Number(readFileSync(join(spec.scratchDir, "child"), "utf8"));
  await expect.poll(() => isSleeping(pid), { timeout: 5_000 }).toBe(false);
});

test("a pid that is somebody else's now is not taken for the container", async () => {
  const spec = await start("import time; time.sleep(600)");
  const file = join(dataDir, "processes", spec.id, "pid");
  const before = readFileSync(file, "utf8");
  writeFileSync(file, `${process.pid} 1\n`);
  expect(await engine.wait(spec.id)).toEqual({ code: 137, outOfMemory: false });
  await engine.stop(spec.id, 1000);
  writeFileSync(file, before);
});

test("a log over its limit is cut, and its end is kept", async () => {
  const folder = mkdtempSync(join(dataDir, "log-"));
  const log = join(folder, "log");
  writeFileSync(log, `${"x".repeat(5000)}end of the first\n`);
  await boundLog(folder, 1000);
  expect(statSync(log).size).toBe(0);
  writeFileSync(log, "second\n");
  await boundLog(folder, 1000);
  expect(await logEnd(folder, 24)).toBe("end of the first\nsecond\n");
  truncateSync(log);
});
