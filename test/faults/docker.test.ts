/** What goes wrong around real containers: a dead runner, a killed container, memory, imports and network. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { whyNoDocker } from "../docker/fixture.ts";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const noDocker = await whyNoDocker();

const BROKEN = `
import os
import fabric_sdk as fabric

app = fabric.App("broken", image=fabric.Image.python("3.11"), memory=128, network="none")
if "FABRIC_CONTAINER" in os.environ:
    raise RuntimeError("only here it breaks")

@app.function()
def f() -> int:
    return 1
`;

describe.skipIf(noDocker)(`faults of containers${noDocker ? ` (${noDocker})` : ""}`, () => {
  let fabric: TestFabric;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fab-broken-"));
    fabric = await startFabric({ engine: "docker" });
    await fabric.json("deploy", "test/apps/probe.py");
    await fabric.call("noop");
  });
  afterAll(async () => {
    await fabric?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const docker = (...args: string[]) => run("docker", args, process.env);
  const containerOf = (id: string): Promise<string> =>
    until(async () => (await fabric.record(id)).container as string | undefined, 60_000, `${id} is in a container`);

  test("a runner killed while a container runs adopts that container: one attempt", async () => {
    const id = await fabric.spawn("nap", { seconds: 8 });
    const container = await containerOf(id);
    const startedAt = (await docker("inspect", "-f", "{{.State.StartedAt}}", container)).stdout;
    await fabric.kill9("runner");
    expect((await docker("inspect", "-f", "{{.State.StartedAt}}", container)).stdout).toBe(startedAt);
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, container });
    expect((await fabric.call("nap", { seconds: 0 })).body).toBe("slept");
  });

  test("a container killed in mid-training resumes from its last complete checkpoint", async () => {
    const id = await fabric.spawn("trains", { epochs: 6, pause: 0.5, series: "killed" });
    const saved = async () => ((await (await fabric.fetch("/v1/checkpoints/killed")).json()) as any).checkpoints ?? [];
    await until(async () => (await saved()).length >= 2, 60_000, "two checkpoints are committed");
    expect((await docker("kill", await containerOf(id))).code).toBe(0);
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 2, platformFaults: 1 });
    const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    expect(result.at(0)).toBeGreaterThanOrEqual(2);
    expect((await saved()).map((one: any) => one.metrics.epoch)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("too much memory is out_of_memory, the user's fault, and not tried again", async () => {
    const { status, body } = await fabric.call("eats");
    expect(status).toBe(500);
    expect(body.error).toMatchObject({ code: "out_of_memory", fault: "user" });
  });

  const faults = async (fn: string, body: object) => {
    const reply = await fabric.fetch(`/f/faults/${fn}`, { method: "POST", body: JSON.stringify(body) });
    return { status: reply.status, body: (await reply.json()) as any };
  };

  test("too much memory in a child process whose end the function handles is no failure of the call", async () => {
    await fabric.json("deploy", "test/apps/faults.py");
    expect(await faults("hoards", { in_child: true })).toEqual({ status: 200, body: "the child was killed" });
    expect((await faults("hoards", {})).body.error).toMatchObject({ code: "out_of_memory", fault: "user" });
  });

  test("too much memory ends the process of a function that respawns, not its container", async () => {
    const container = (await faults("sturdy", { token: "before" })).body;
    expect((await faults("sturdy", { token: "hoards", poison: "hoard" })).body.error.code).toBe("out_of_memory");
    expect((await faults("sturdy", { token: "after" })).body).toBe(container);
  });

  test("a function that ignores signals and exceptions is ended with its container, soon after its timeout", async () => {
    const { status, body } = await faults("stubborn", {});
    expect({ status, code: body.error.code }).toEqual({ status: 500, code: "timed_out" });
    const label = `label=fabric.function=stubborn`;
    const left = async () => (await docker("ps", "-q", "--filter", label)).stdout.trim();
    await until(async () => (await left()) === "", 10_000, "its container is gone");
  });

  test("a module that does not import in the container is told with its traceback", async () => {
    const file = join(folder, "broken.py");
    await writeFile(file, BROKEN);
    await fabric.json("deploy", file);
    const reply = await fabric.fetch("/f/broken/f", { method: "POST", body: "{}" });
    const { error } = (await reply.json()) as any;
    expect(error).toMatchObject({ code: "import_failed", fault: "user" });
    expect(error.message).toContain("only here it breaks");
  });
});
