/** Decides whether any node, empty, could hold a container of a function: a deploy that can never run is refused at once. */
import { type FunctionSpec, request } from "../core/spec.ts";
import type { NodeFacts } from "../core/state-store.ts";

/** What no node can ever hold, one phrase for each function; empty when all fit, or when no node is known yet. */
export function neverFits(functions: FunctionSpec[], nodes: NodeFacts[]): string[] {
  if (nodes.length === 0) return [];
  return functions.filter((fn) => !nodes.some((node) => fits(fn, node))).map((fn) => `${fn.name} asks for ${wish(fn)}`);
}

function fits(fn: FunctionSpec, node: NodeFacts): boolean {
  if (request(fn.cpu) * 1000 > node.cpuMillis) return false;
  if (request(fn.memory) * 1024 * 1024 > node.memoryBytes) return false;
  if (fn.gpu === null) return true;
  const { model, count } = gpuWish(fn.gpu);
  return node.gpus.filter((gpu) => isModel(gpu.model, model)).length >= count;
}

function gpuWish(gpu: string): { model: string; count: number } {
  const [model = "any", count = "1"] = gpu.split(":");
  return { model, count: Number(count) };
}

/** "A100" is wished, "NVIDIA A100-SXM4-80GB" is had. */
const isModel = (had: string, wished: string): boolean =>
  wished.toLowerCase() === "any" || had.toLowerCase().includes(wished.toLowerCase());

const wish = (fn: FunctionSpec): string =>
  `${request(fn.cpu)} cpu, ${request(fn.memory)} MiB${fn.gpu === null ? "" : ` and gpu ${fn.gpu}`}`;
