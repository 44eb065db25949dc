/** Decides whether any node, empty, could hold a container of a function: a deploy that can never run is refused at once. */

import type { NodeFacts } from "./capacity-ledger.ts";
import { gangOf, isGang } from "./gang.ts";
import { type FunctionSpec, request } from "./spec.ts";

const MIB = 1024 * 1024;

/** What no node can ever hold, one phrase for each function; empty when all fit, or when no node is known yet. */
export function neverFits(functions: FunctionSpec[], nodes: NodeFacts[]): string[] {
  if (nodes.length === 0) return [];
  return functions
    .filter((fn) => !nodes.some((node) => missingOn(fn, node).length === 0))
    .map((fn) => `${fn.name} asks for ${wish(fn)}${isGang(fn) ? `: ${gangLack(fn, nodes)}` : ""}`);
}

interface Lack {
  what: string;
  asked: number;
  there: number;
  unit: string;
}

/** What an empty node lacks for one container, or for all of a gang's: they have to be on one node. */
function missingOn(fn: FunctionSpec, node: NodeFacts): Lack[] {
  const count = gangOf(fn);
  const lacks: Lack[] = [
    { what: "cpu", asked: request(fn.cpu) * count, there: node.cpuMillis / 1000, unit: "" },
    { what: "memory", asked: request(fn.memory) * count, there: Math.floor(node.memoryBytes / MIB), unit: " MiB" },
  ];
  if (fn.gpu !== null) {
    const wished = gpuWish(fn.gpu);
    const there = node.gpus.filter((gpu) => isModel(gpu.model, wished.model)).length;
    lacks.push({ what: `gpu ${wished.model}`, asked: wished.count * count, there, unit: "" });
  }
  return lacks.filter(({ asked, there }) => asked > there);
}

/** On the node that lacks least. */
function gangLack(fn: FunctionSpec, nodes: NodeFacts[]): string {
  const shortage = (lacks: Lack[]): number => lacks.reduce((sum, { asked, there }) => sum + 1 - there / asked, 0);
  const best = nodes.map((node) => missingOn(fn, node)).sort((a, b) => shortage(a) - shortage(b))[0]!;
  const parts = best.map(({ what, asked, there, unit }) => `${what}: ${asked}${unit} in all, ${there}${unit} there`);
  return `no node has enough ${parts.join("; ")}`;
}

function gpuWish(gpu: string): { model: string; count: number } {
  const [model = "any", count = "1"] = gpu.split(":");
  return { model, count: Number(count) };
}

/** "A100" is wished, "NVIDIA A100-SXM4-80GB" is had. */
const isModel = (had: string, wished: string): boolean =>
  wished.toLowerCase() === "any" || had.toLowerCase().includes(wished.toLowerCase());

const wish = (fn: FunctionSpec): string =>
  `${isGang(fn) ? `a gang of ${fn.gang} with ` : ""}${request(fn.cpu)} cpu, ${request(fn.memory)} MiB${fn.gpu === null ? "" : ` and gpu ${fn.gpu}`}`;
