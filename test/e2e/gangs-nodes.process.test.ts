/** Gangs on a fabric of several nodes: each is on one of them altogether, and one that lost its node runs on another. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric, type TestNode } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const LEASE_MS = 3_000;
const GPUS = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"];

let fabric: TestFabric;
const large: TestNode[] = [];
beforeAll(async () => {
  // The gangs below need 1.5 cores: the first node is too small for them.
  fabric = await startFabric({
    engine: "process",
    app: "gangs",
    env: { FABRIC_NODE_CPU: "1", FABRIC_LEASE_MS: String(LEASE_MS) },
  });
  const gpus = JSON.stringify(GPUS.map((uuid) => ({ uuid, model: "A100", memoryBytes: 1 })));
  const env = { FABRIC_NODE_CPU: "2", FABRIC_GPUS: gpus };
  large.push(...(await Promise.all(["nod_a", "nod_b"].map((id) => fabric.addNode(id, env)))));
  await fabric.json("deploy", "test/apps/gangs.py");
});
afterAll(() => fabric?.close());

/** Of each node the functions of its containers. */
async function placed(): Promise<Record<string, string[]>> {
  const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
  const nodes: Record<string, string[]> = {};
  for (const { node, function: fn } of containers) nodes[node] = [...(nodes[node] ?? []), fn];
  return nodes;
}

const A_GANG = Array(3).fill("gangs/wide");

test("two gangs fill two nodes, each on one of them; none is torn between them, none on a node that is too small", async () => {
  const ids = await Promise.all([1, 2, 3, 4].map(() => fabric.spawn("wide", { seconds: 1 })));
  await expect.poll(placed, { timeout: 30_000 }).toEqual({ nod_a: A_GANG, nod_b: A_GANG });
  for (const id of ids) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
});

test("a gang has a rank for each GPU that it was granted, and no GPU twice", async () => {
  await fabric.json("deploy", "test/apps/gangs_gpus.py");
  const { body, headers } = await fabric.call("../gangs_gpus/train");
  expect(body).toBe("4");
  const id = headers.get("fabric-invocation")!;
  const printed = await until(
    async () => {
      const lines = (await (await fabric.fetch(`/v1/invocations/${id}/logs`)).text()).trim().split("\n");
      return lines.length === 4 && lines.map((line) => JSON.parse(line).text.trim()).sort();
    },
    30_000,
    "all ranks have printed",
  );
  const [first, second] = [printed[0]!, printed[2]!].map((line) => line.split(" ")[2]!);
  expect(printed).toEqual([`0 0 ${first}`, `0 1 ${first}`, `1 0 ${second}`, `1 1 ${second}`]);
  expect(`${first},${second}`.split(",").sort()).toEqual(GPUS);
});

test("a gang whose node is lost runs on another", async () => {
  const id = await fabric.spawn("wide", { seconds: 60, restarted: 0 });
  const mine = await until(
    async () => {
      const { attempts } = (await (await fabric.fetch(`/v1/invocations/${id}/explain`)).json()) as any;
      return attempts.at(-1)?.startedAt && large.find((one) => one.id === attempts.at(-1).node);
    },
    30_000,
    "it runs",
  );
  await mine.kill9();
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", platformFaults: 1 });
});

test("one that no node could hold, though all together could, is refused with what is missing", async () => {
  const { code, stderr, stdout } = await fabric.cli("deploy", "test/apps/gangs_too_large.py");
  expect(code).not.toBe(0);
  expect(stderr + stdout).toContain("no node has enough cpu: 2.4 in all, 2 there; gpu A100: 8 in all, 4 there");
});
