/** Gangs on a fabric of several nodes: on one of them where there is room, else on several, and again elsewhere when one is lost. */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric, type TestNode } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const LEASE_MS = 3_000;
const GPUS = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"];

const LARGE = {
  FABRIC_NODE_CPU: "2",
  FABRIC_GPUS: JSON.stringify(GPUS.map((uuid) => ({ uuid, model: "A100", memoryBytes: 1 }))),
};

let fabric: TestFabric;
const large: TestNode[] = [];
beforeAll(async () => {
  // The gangs below need 1.5 cores: the first node is too small for them.
  fabric = await startFabric({
    engine: "process",
    app: "gangs",
    env: { FABRIC_NODE_CPU: "1", FABRIC_LEASE_MS: String(LEASE_MS) },
  });
  large.push(...(await Promise.all(["nod_a", "nod_b"].map((id) => fabric.addNode(id, LARGE)))));
  for (const app of ["gangs", "gangs_spread"]) await fabric.json("deploy", `test/apps/${app}.py`);
});
afterAll(() => fabric?.close());

/** Of each node the functions of its containers. */
async function placed(): Promise<Record<string, string[]>> {
  const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
  const nodes: Record<string, string[]> = {};
  for (const { node, function: fn } of containers) nodes[node] = [...(nodes[node] ?? []), fn];
  return nodes;
}

const SPREAD = "../../gangs_spread/functions/spread";
const A_GANG = Array(3).fill("gangs/wide");

test("two gangs fill two nodes, each on one of them; none is torn between them, none on a node that is too small", async () => {
  const ids = await Promise.all([1, 2].map(() => fabric.spawn("wide", { seconds: 1 })));
  await expect.poll(placed, { timeout: 30_000 }).toEqual({ nod_a: A_GANG, nod_b: A_GANG });
  for (const id of ids) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
});

const resultOf = async (id: string): Promise<any> =>
  ((await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as { result: unknown }).result;

interface Rank {
  rank: number;
  pid: number;
  container: string;
}

/** Its ranks, once all have printed who they are. */
const ranksOf = (id: string, count = 6): Promise<Rank[]> =>
  until(
    async () => {
      const lines = (await (await fabric.fetch(`/v1/invocations/${id}/logs`)).text()).split("\n");
      const found = lines.flatMap((line): Rank[] => {
        const said = /rank (\d+) is (\d+) in (con_\w+)/.exec(line);
        return said ? [{ rank: Number(said[1]), pid: Number(said[2]), container: said[3]! }] : [];
      });
      return found.length >= count && found.slice(-6);
    },
    30_000,
    "all ranks say who they are",
  );

/** By container, its node. */
async function nodesNow(): Promise<Map<string, string>> {
  const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as any;
  return new Map(containers.map(({ container, node }: any) => [container, node]));
}

/** Of a gang that runs: its ranks with their nodes, the lead's first. */
async function spreadOver(id: string): Promise<(Rank & { node: string })[]> {
  const ranks = await ranksOf(id);
  const nodes = await nodesNow();
  return ranks.map((one) => ({ ...one, node: nodes.get(one.container)! })).sort((a, b) => a.rank - b.rank);
}

const untilGone = (pids: number[]): Promise<unknown> =>
  until(async () => !pids.some((pid) => existsSync(`/proc/${pid}`)), 30_000, "no rank of it is left");

test("a gang that no node has room for is on several: its ranks meet, call, and get long arguments", async () => {
  const data = "x".repeat(400_000);
  const id = await fabric.spawn(SPREAD, { data, seconds: 1 });
  const ranks = await spreadOver(id);
  expect(new Set(ranks.map(({ node }) => node)).size).toBeGreaterThan(1);
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  expect(await resultOf(id)).toMatchObject({
    ...{ sum: 6, length: data.length, RANK: "0", WORLD_SIZE: "6", NODE_RANK: "0", MASTER_ADDR: "127.0.0.1" },
    ...{ GLOO_SOCKET_IFNAME: "lo" },
  });
  const lines = (await (await fabric.fetch(`/v1/invocations/${id}/logs`)).text()).trim().split("\n");
  expect(lines.map((line) => JSON.parse(line).rank).sort()).toEqual([0, 1, 2, 3, 4, 5]);
});

test("two gangs that each want more than half of all nodes take turns", async () => {
  const ids = await Promise.all([1, 2].map(() => fabric.spawn(SPREAD, { seconds: 0.5 })));
  for (const id of ids) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  const [one, other] = (await Promise.all(ids.map(resultOf))).sort((a, b) => a.began - b.began);
  expect(other.began).toBeGreaterThanOrEqual(one.ended);
});

test.each([
  ["raise", "exception", "raised ValueError: no such digit"],
  ["kill", "rank_killed", "was killed from outside (SIGKILL)\nIts last lines:"],
])("a rank on another node that ends by '%s' is named, with its last lines", async (ends, code, said) => {
  const id = await fabric.spawn(SPREAD, { ends, rank: 5, seconds: 300 });
  const { state, error, attempts, platformFaults } = await fabric.ended(id);
  if (ends === "kill") {
    expect({ state, platformFaults }).toEqual({ state: "succeeded", platformFaults: 1 });
    const told = await (await fabric.fetch(`/v1/invocations/${id}/explain`)).text();
    return expect(told).toContain("trying again after rank_killed: rank 5 of 6");
  }
  expect({ state, attempts }).toEqual({ state: "failed", attempts: 1 });
  expect(error).toMatchObject({ code, details: { rank: 5, world_size: 6 } });
  expect(error.message).toContain(said);
  expect(error.details.lines).toContain("the last words");
});

test("ranks on several nodes save one checkpoint together, and resume from it when one was killed", async () => {
  const id = await fabric.spawn("../../gangs_spread/functions/trains", { epochs: 3, kill_at: 2 });
  const { error, ...record } = await fabric.ended(id);
  expect(error).toBeUndefined();
  expect(record).toMatchObject({ state: "succeeded", platformFaults: 1 });
  const own = [0, 1, 2, 3, 4, 5];
  const files = ["epoch", ...own.map((rank) => `frozen-${rank}`), "mine", ...own.map((rank) => `shard-${rank}`)];
  // Each rank has read all files of the last one.
  expect(await resultOf(id)).toEqual({ begin: 2, step: 2, files, read: 6 * files.length });
  const logs = await (await fabric.fetch(`/v1/invocations/${id}/logs`)).text();
  expect(logs).toContain("mine of rank 5 differs from rank 0's, which was saved");
});

test("a file of one rank that cannot be saved fails the report on all nodes, by its name, and leaves nothing", async () => {
  const id = await fabric.spawn("../../gangs_spread/functions/trains", { epochs: 1, missing: true });
  const { state, error } = await fabric.ended(id);
  expect(state).toBe("failed");
  expect(error.message).toContain("rank 5: manifest.json is fabric's own name in a checkpoint");
  const { checkpoints } = (await (await fabric.fetch(`/v1/checkpoints/${id}`)).json()) as any;
  expect(checkpoints ?? []).toEqual([]);
});

test("a cancelled gang ends on all its nodes", async () => {
  const id = await fabric.spawn(SPREAD, { seconds: 300 });
  const ranks = await ranksOf(id);
  await fabric.json("invocation", "cancel", id);
  expect(await fabric.ended(id)).toMatchObject({ state: "cancelled" });
  await untilGone(ranks.map(({ pid }) => pid));
});

test("one that all nodes together could not hold is refused with what is missing", async () => {
  const { code, stderr, stdout } = await fabric.cli("deploy", "test/apps/gangs_too_large.py");
  expect(code).not.toBe(0);
  expect(stderr + stdout).toContain("together do not have enough gpu A100: 10 in all, 8 there");
});

test.each(["host", "lead"])(
  "a gang whose %s is lost runs again without it, and nothing of it is left",
  async (whose) => {
    const id = await fabric.spawn(SPREAD, { seconds: 300 });
    const ranks = await spreadOver(id);
    const lead = ranks[0]!.node;
    const others = ranks.map(({ node }) => node).filter((node) => node !== lead);
    const lost = whose === "lead" ? lead : others.find((node) => large.some((one) => one.id === node));
    const mine = large.find((one) => one.id === lost);
    await (mine ? mine.kill9() : fabric.kill9("runner"));
    await untilGone(ranks.map(({ pid }) => pid));
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", platformFaults: 1 });
    if (mine) large[large.indexOf(mine)] = await fabric.addNode(mine.id, LARGE);
  },
);

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
