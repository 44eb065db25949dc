/** What goes with gang, what fits, and what ranks find in their environment. */
import { describe, expect, it, test } from "vitest";
import type { NodeFacts } from "../../../core/capacity-ledger.ts";
import { neverFits } from "../../../core/fits-node.ts";
import { gangProblem, procsOf, rankEnvironments, threadsOf } from "../../../core/gang.ts";
import { type FunctionSpec, functionSpecSchema } from "../../../core/spec.ts";

const plain = { max_inputs: 1, is_generator: false };

describe("options", () => {
  test.each([
    [{}, undefined],
    [{ gang: 2, procs: "auto" as const }, undefined],
    [{ gang: 16, procs: 64 }, undefined],
    [{ procs: 2 }, "procs goes with gang"],
    [{ gang: 17, procs: 64 }, "gang times procs is over 1024 ranks"],
    [{ gang: 1, max_inputs: 2 }, "a gang runs one input at a time: max_inputs must be 1"],
    [{ gang: 1, is_generator: true }, "a generator cannot be a gang: rank 0's return value is its result"],
    [{ gang: 1, batched: {} }, "a batched function cannot be a gang"],
    [{ gang: 1, class: {} }, "a class cannot be a gang; only functions can"],
  ])("%j: %s", (options, expected) => expect(gangProblem({ ...plain, ...options })).toBe(expected));

  it("are refused by the schema with their reason", () => {
    const entry = { module: "app", qualname: "f" };
    const read = functionSpecSchema.safeParse({ name: "f", image: "i", entry, gang: 2, max_inputs: 3 });
    expect(read.error?.issues[0]).toMatchObject({ path: ["gang"], message: expect.stringContaining("one input") });
    expect(functionSpecSchema.parse({ name: "f", image: "i", entry })).toMatchObject({ gang: null, procs: "auto" });
  });

  test.each([
    ["auto", 4, 4],
    ["auto", 0, 1],
    [3, 8, 3],
  ] as const)("procs %s with %i GPUs: %i", (procs, gpus, expected) => expect(procsOf({ procs }, gpus)).toBe(expected));

  test.each([
    [8, 4, 2],
    [1, 4, 1],
    [7.5, 2, 3],
  ])("%d cores for %i ranks: %i threads each", (cores, procs, threads) =>
    expect(threadsOf(cores, procs)).toBe(threads),
  );
});

describe("a rank's environment", () => {
  const launch = {
    ...{ id: "inv_1", generation: 3, restarts: 2, master: { address: "172.20.0.2", port: 23456 } },
    containers: [
      { id: "con_a", procs: 2 },
      { id: "con_b", procs: 1 },
      { id: "con_c", procs: 2 },
    ],
  };
  const all = launch.containers.flatMap((_, node) => rankEnvironments(launch, node));

  it("counts ranks through containers, also of different sizes", () => {
    const places = all.map(({ rank, localRank, env }) => [rank, localRank, env.RANK, env.LOCAL_RANK, env.NODE_RANK]);
    expect(places).toEqual([
      [0, 0, "0", "0", "0"],
      [1, 1, "1", "1", "0"],
      [2, 0, "2", "0", "1"],
      [3, 0, "3", "0", "2"],
      [4, 1, "4", "1", "2"],
    ]);
    expect(all.map(({ env }) => env.LOCAL_WORLD_SIZE)).toEqual(["2", "2", "1", "2", "2"]);
  });

  it("is torchrun's, with a prefix that is another attempt's never again", () => {
    expect(all[3]!.env).toEqual({
      ...{ RANK: "3", LOCAL_RANK: "0", WORLD_SIZE: "5", LOCAL_WORLD_SIZE: "2", NODE_RANK: "2", GROUP_RANK: "2" },
      ...{ GROUP_WORLD_SIZE: "3", ROLE_NAME: "default", ROLE_RANK: "3", ROLE_WORLD_SIZE: "5" },
      ...{ MASTER_ADDR: "172.20.0.2", MASTER_PORT: "23456" },
      ...{ TORCHELASTIC_RUN_ID: "inv_1-3", TORCHELASTIC_RESTART_COUNT: "2", NCCL_HOSTID: "con_c" },
    });
  });
});

describe("a gang on several nodes", () => {
  const node = (id: string, facts: Partial<NodeFacts> = {}) =>
    ({
      id,
      engine: "docker",
      cpuMillis: 4000,
      memoryBytes: 2 ** 40,
      gpus: [],
      meets: ["swarm:s"],
      ...facts,
    }) as NodeFacts;
  const fn = (cpu: number, gang: number) => ({ name: "f", cpu, memory: 128, gpu: null, gang }) as FunctionSpec;
  const swarm = "have to be in one Swarm (docker swarm init, docker swarm join), which nod_b, nod_c are not";
  test.each<[string, FunctionSpec, NodeFacts[], string | undefined]>([
    ["fits", fn(1, 8), [node("nod_a"), node("nod_b")], undefined],
    [
      "in whole containers",
      fn(3, 3),
      [node("nod_a"), node("nod_b")],
      "its 2 nodes together do not have enough cpu: 9 in all, 6 there",
    ],
    [
      "not over two engines",
      fn(1, 8),
      [node("nod_a"), node("nod_b", { engine: "process" })],
      "no node has enough cpu: 8 in all, 4 there",
    ],
    ["not where they do not meet", fn(1, 8), [node("nod_b", { meets: [] }), node("nod_c", { meets: [] })], swarm],
    [
      "not over machines without addresses",
      fn(1, 8),
      ["x", "y"].map((one) => node(one, { engine: "process", meets: [one] })),
      "each needs FABRIC_NODE_ADDRESS",
    ],
  ])("%s", (_name, wish, nodes, expected) => {
    const [found] = neverFits([wish], nodes);
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(expected);
  });
});

describe("a gang that no node can hold", () => {
  const gpu = (uuid: string) => ({ uuid, model: "NVIDIA A100-SXM4-80GB", memoryBytes: 1 });
  const node = (facts: Partial<NodeFacts>) =>
    ({ cpuMillis: 4000, memoryBytes: 2 ** 30, gpus: [], ...facts }) as NodeFacts;
  const fn = (facts: object) => ({ name: "f", cpu: 1, memory: 128, gpu: null, gang: 4, ...facts }) as FunctionSpec;
  const nodes = [node({}), node({ gpus: ["a", "b", "c"].map(gpu) })];
  test.each([
    ["fits", {}, undefined],
    ["cpu", { cpu: 2 }, "no node has enough cpu: 8 in all, 4 there"],
    ["memory", { memory: 300 }, "no node has enough memory: 1200 MiB in all, 1024 MiB there"],
    ["GPUs", { gpu: "A100" }, "no node has enough gpu A100: 4 in all, 3 there"],
    ["GPUs that are there", { gpu: "A100", gang: 3 }, undefined],
    ["several", { cpu: 2, gpu: "A100:2" }, "no node has enough cpu: 8 in all, 4 there; gpu A100: 8 in all, 3 there"],
  ])("%s", (_name, wish, expected) => {
    const found = neverFits([fn(wish)], nodes)[0];
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(expected);
  });
});
