/** Where the ranks of a gang on one or several nodes meet. */
import { expect, test } from "vitest";
import type { NodeFacts } from "../../../core/capacity-ledger.ts";
import type { ContainerEngine } from "../../../core/engine.ts";
import { masterAddress, processMeets } from "../../../runner/meeting.ts";

const engine = (name: string) => ({ name, addressOf: async (id: string) => `of ${id}` }) as unknown as ContainerEngine;
const node = (id: string, machine: string, address?: string) =>
  ({ id, meets: [`machine:${machine}`, "address"], address }) as unknown as NodeFacts;

test.each<[string, string, number, NodeFacts[], string]>([
  ["one container", "docker", 1, [], "127.0.0.1"],
  ["containers of one Docker node", "docker", 2, [], "of con_1"],
  ["Docker nodes", "docker", 2, [node("a", "x"), node("b", "y")], "of con_1"],
  ["processes of one node", "process", 2, [], "of con_1"],
  ["processes of one machine", "process", 2, [node("a", "x", "10.0.0.1"), node("b", "x")], "127.0.0.1"],
  ["processes of two machines", "process", 2, [node("a", "x", "10.0.0.1"), node("b", "y", "10.0.0.2")], "10.0.0.1"],
])("%s meet where rank 0 is reached", async (_who, name, containers, nodes, expected) => {
  expect(await masterAddress(engine(name), { id: "con_1", containers }, nodes)).toBe(expected);
});

test("processes of two machines need an address, which is said", async () => {
  const nodes = [node("nod_a", "x"), node("nod_b", "y")];
  await expect(masterAddress(engine("process"), { id: "con_1", containers: 2 }, nodes)).rejects.toThrow(
    "nod_a has no FABRIC_NODE_ADDRESS",
  );
});

test("runners of one machine have it in common, with or without an address", async () => {
  const [alone, reached] = [await processMeets(""), await processMeets("10.0.0.1")];
  expect(alone).toHaveLength(1);
  expect(reached).toEqual([...alone, "address"]);
});
