/** `fabric down` leaves nothing, even when neither supervisor nor runner could clean up any more. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { whyNoDocker } from "../docker/fixture.ts";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const noDocker = await whyNoDocker();

async function withRunningCall(engine: "docker" | "process", act: (fabric: TestFabric, id: string) => Promise<void>) {
  const fabric = await startFabric({ engine });
  try {
    await fabric.json("deploy", "test/apps/probe.py");
    const id = await fabric.spawn("nap", { seconds: 100 });
    await until(async () => (await fabric.record(id)).container !== undefined, 60_000, "a call is in a container");
    await act(fabric, id);
  } finally {
    await fabric.close();
  }
}

async function killAll(fabric: TestFabric): Promise<void> {
  const { supervisor } = JSON.parse(await readFile(join(fabric.dataDir, "running.json"), "utf8"));
  const children = await Promise.all((["runner", "gateway", "redis", "s3"] as const).map(fabric.pid));
  for (const pid of [supervisor.pid, ...children]) process.kill(pid, "SIGKILL");
}

const shims = async (fabric: TestFabric): Promise<string[]> => {
  const script = 'grep -lz "FABRIC_SOCKET=$1" /proc/[0-9]*/environ 2>/dev/null';
  const { stdout } = await run("sh", ["-c", script, "sh", fabric.dataDir], process.env);
  return stdout.trim().split("\n").filter(Boolean);
};

describe("process engine", () => {
  test("down ends the shims of a runner that was killed", () =>
    withRunningCall("process", async (fabric) => {
      await killAll(fabric);
      expect(await shims(fabric)).not.toEqual([]);
      expect((await fabric.cli("down")).code).toBe(0);
      expect(await shims(fabric)).toEqual([]);
      expect(existsSync(join(fabric.dataDir, "scratch"))).toBe(false);
    }));
});

describe.skipIf(noDocker)(`docker engine${noDocker ? ` (${noDocker})` : ""}`, () => {
  const traces = async (fabric: TestFabric) => {
    const { fabricId } = JSON.parse(await readFile(join(fabric.dataDir, "state.json"), "utf8"));
    const label = `label=fabric.id=${fabricId}`;
    const docker = async (...args: string[]) => (await run("docker", args, process.env)).stdout.trim();
    return {
      containers: await docker("ps", "-aq", "--filter", label),
      networks: await docker("network", "ls", "-q", "--filter", label),
    };
  };

  test("down removes containers and networks of a runner that was killed", () =>
    withRunningCall("docker", async (fabric) => {
      expect((await traces(fabric)).containers).not.toBe("");
      await killAll(fabric);
      expect((await fabric.cli("down")).code).toBe(0);
      expect(await traces(fabric)).toEqual({ containers: "", networks: "" });
    }));

  test("an ordinary down gives the network back", () =>
    withRunningCall("docker", async (fabric, id) => {
      await fabric.cli("invocation", "cancel", id);
      expect((await fabric.cli("down")).code).toBe(0);
      expect(await traces(fabric)).toEqual({ containers: "", networks: "" });
    }));
});
