/** Gangs on two Docker nodes of one Swarm: over an overlay network that goes with them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { baseImageForTests, whyNoDocker } from "../docker/fixture.ts";
import { startFabric, type TestFabric, type TestNode } from "../support/fabric.ts";
import { until } from "../support/redis.ts";
import { startSwarm, type TestSwarm, whyNoSwarm } from "../support/swarm.ts";

const reason = (await whyNoDocker()) ?? (await whyNoSwarm());
if (reason) console.warn(`SKIPPED: ${reason}`);

describe.skipIf(reason)(`gangs on two Docker nodes${reason ? ` (${reason})` : ""}`, () => {
  let swarm: TestSwarm;
  let fabric: TestFabric;
  let second: TestNode;
  beforeAll(async () => {
    await baseImageForTests();
    swarm = await startSwarm(["fabric/base:3.11"]);
    // No firewall rules from here into the daemons' namespaces.
    const env = { FABRIC_NODE_CPU: "2", FABRIC_LEASE_MS: "3000", FABRIC_OPEN_EGRESS: "yes" };
    fabric = await startFabric({
      ...{ engine: "docker", app: "gangs_spread" },
      env: { ...env, DOCKER_HOST: swarm.manager.host },
    });
    second = await fabric.addNode("nod_b", { ...env, DOCKER_HOST: swarm.worker.host });
    await fabric.json("deploy", "test/apps/gangs_spread.py");
  });
  afterAll(async () => {
    await fabric?.close();
    await swarm?.close();
  });

  const networks = async (): Promise<string> => swarm.manager.docker("network", "ls", "-q", "-f", "label=fabric.gang");

  test.each([
    ["on nothing else", "sealed", { GLOO_SOCKET_IFNAME: "eth0", interfaces: ["eth0", "lo"] }],
    ["beside their own network", "reaching", { GLOO_SOCKET_IFNAME: "eth1", interfaces: ["eth0", "eth1", "lo"] }],
  ])("its ranks meet on an overlay, %s", async (_where, fn, expected) => {
    const id = await fabric.spawn(fn);
    expect((await fabric.ended(id, 120_000)).error).toBeUndefined();
    const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    expect(result).toMatchObject({ sum: 3, WORLD_SIZE: "3", ...expected });
    expect(result.MASTER_ADDR).toMatch(/^10\./);
  });

  test("its network goes with it, also when a node is lost", async () => {
    expect(await networks()).not.toBe("");
    await second.kill9();
    await until(async () => (await networks()) === "", 60_000, "no gang's network is left");
  });
});
