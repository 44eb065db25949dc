/** `fabric run`: what remote functions print is seen here, and Ctrl-C ends the version with its calls. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SOURCE = `
import sys, time
import fabric_sdk as fabric

app = fabric.App("speaker", image=fabric.Image.python("3.11"), memory=64, network="none")
print("the module is imported")

@app.function()
def square(n: int) -> int:
    print(f"squaring {n}")
    print("to stderr", file=sys.stderr)
    return n * n

@app.function(timeout=100)
def sleeps() -> None:
    print("asleep", flush=True)
    time.sleep(90)

@app.local_entrypoint()
def main(n: int = 3) -> None:
    print("answer", square.remote(n))

@app.local_entrypoint()
def waits() -> None:
    sleeps.remote()
`;

let fabric: TestFabric;
let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fab-run-"));
  file = join(folder, "speaker.py");
  await writeFile(file, SOURCE);
  fabric = await startFabric({ engine: "process", env: { FABRIC_CANCEL_GRACE_MS: "1000" } });
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

test("what remote functions print is on stderr, the entrypoint's own words on stdout", async () => {
  const { code, stdout, stderr } = await fabric.cli("run", `${file}::main`, "--n", "4");
  expect({ code, stdout }).toEqual({ code: 0, stdout: "the module is imported\nanswer 16\n" });
  for (const line of ["squaring 4", "to stderr"]) expect(stderr.split("\n")).toContain(line);
});

test("lines of a deployed version of the same app are not mixed in", async () => {
  await fabric.json("deploy", file);
  const before = fabric.fetch("/f/speaker/square", { method: "POST", body: '{"n": 77}' });
  const { stderr } = await fabric.cli("run", `${file}::main`, "--n", "5");
  expect((await before).status).toBe(200);
  expect(stderr).toContain("squaring 5");
  expect(stderr).not.toContain("squaring 77");
  expect(stderr).not.toContain("squaring 4");
});

test.each([
  ["the whole process group, as a terminal does", -1],
  ["the command alone", 1],
])("Ctrl-C to %s ends the version, cancels its calls, says so in a line and answers 130", async (_whom, group) => {
  const child = spawn(process.execPath, [join(ROOT, "bin/fabric.js"), "run", `${file}::waits`], {
    env: fabric.env,
    cwd: ROOT,
    detached: true, // a process group of its own, as a terminal gives it
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const code = new Promise<number | null>((resolve) => child.once("close", resolve));
  await until(() => output.includes("asleep"), 60_000, "it says that it sleeps");
  const { invocations } = (await (await fabric.fetch("/v1/invocations?app=speaker")).json()) as any;
  const running = invocations.find((one: any) => one.state === "running");
  process.kill(group * child.pid!, "SIGINT");
  expect(await code).toBe(130);
  const after = output.slice(output.indexOf("asleep") + "asleep".length).trim();
  expect(after).toBe("interrupted: this run of speaker has ended, and its calls are cancelled");
  expect(await fabric.ended(running.id, 20_000)).toMatchObject({ state: "cancelled" });
  await until(
    async () =>
      (
        await run(
          "sh",
          ["-c", 'grep -lz "FABRIC_CONTAINER=$1" /proc/[0-9]*/environ 2>/dev/null', "sh", running.container ?? "none"],
          process.env,
        )
      ).stdout === "",
    20_000,
    "its container is gone",
  );
});
