/** The Docker daemon itself dies or is stopped, with and without live-restore: calls go on or run again, and none is lost. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { baseImageForTests, whyNoDocker } from "../docker/fixture.ts";
import { startDockerd, type TestDockerd, whyNoDockerd } from "../support/dockerd.ts";
import { type FaultFabric, startFaultFabric } from "../support/fault-fabric.ts";

const AWAY_MS = 4_000;

const reason = (await whyNoDocker()) ?? (await whyNoDockerd());
if (reason) console.warn(`SKIPPED: ${reason}`);

describe.skipIf(reason)(`faults of the Docker daemon${reason ? ` (${reason})` : ""}`, () => {
  let dockerd: TestDockerd;
  let fabric: FaultFabric;
  beforeAll(async () => {
    await baseImageForTests();
    dockerd = await startDockerd(["fabric/base:3.11"]);
    fabric = await startFaultFabric({ engine: "docker", env: { DOCKER_HOST: dockerd.host } });
  });
  afterAll(async () => {
    await fabric?.close();
    await dockerd?.close();
  });

  const nap = async (token: string, seconds: number) => {
    const id = await fabric.ask("nap", { token, seconds });
    await fabric.running(id);
    return id;
  };

  /** Warm containers need no daemon; one that would have to be started waits for it. */
  async function outage(end: () => Promise<void>): Promise<{ waiting: string }> {
    await end();
    const waiting = await fabric.ask("wrong", { token: "waits" });
    const since = performance.now();
    while (performance.now() - since < AWAY_MS) await fabric.works();
    return { waiting };
  }

  test.each([
    ["killed", () => dockerd.kill()],
    ["stopped", () => dockerd.stop()],
  ])("%s with live-restore: calls run on in one attempt, warm containers serve, new ones wait", async (how, end) => {
    const during = await nap(`during-${how}`, 1);
    const after = await nap(`after-${how}`, 8);
    const { waiting } = await outage(end);
    expect(await fabric.ended(during)).toMatchObject({ state: "succeeded", attempts: 1 });
    await dockerd.start();
    expect(await fabric.ended(after)).toMatchObject({ state: "succeeded", attempts: 1 });
    expect(await fabric.ended(waiting, 30_000)).toMatchObject({ error: { code: "exception" } });
    await fabric.works();
  });

  test("stopped without live-restore: what ends within Docker's grace is done, what is killed runs again", async () => {
    await dockerd.stop();
    await dockerd.start({ liveRestore: false });
    const [short, long] = await Promise.all([nap("short", 3), nap("long", 12)]);
    await dockerd.stop();
    await dockerd.start({ liveRestore: false });
    expect(await fabric.ended(short)).toMatchObject({ state: "succeeded", attempts: 1 });
    expect(await fabric.ended(long)).toMatchObject({ state: "succeeded", userFaults: 0, platformFaults: 1 });
    await fabric.works();
  });
});
