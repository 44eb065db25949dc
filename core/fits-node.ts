/** Decides whether the nodes, empty, could hold a container of a function, or its gang: a deploy that can never run is refused at once. */

import type { NodeFacts } from "./capacity-ledger.ts";
import { gangOf, isGang } from "./gang.ts";
import { type FunctionSpec, request } from "./spec.ts";

const MIB = 1024 * 1024;

/** What the nodes can never hold, one phrase for each function; empty when all fit, or when no node is known yet. */
export function neverFits(functions: FunctionSpec[], nodes: NodeFacts[]): string[] {
  if (nodes.length === 0) return [];
  return functions
    .filter((fn) => !groupsOf(fn, nodes).some((group) => roomOn(fn, group) >= gangOf(fn)))
    .map((fn) => `${fn.name} asks for ${wish(fn)}: ${whatIsMissing(fn, nodes)}`);
}

/** Each node alone; for a gang of several containers also those that can reach each other. */
function groupsOf(fn: FunctionSpec, nodes: NodeFacts[]): NodeFacts[][] {
  const alone = nodes.map((node) => [node]);
  if (gangOf(fn) < 2) return alone;
  const meetings = new Map<string, NodeFacts[]>();
  for (const node of nodes)
    for (const name of node.meets ?? []) {
      const meeting = `${node.engine} ${name}`;
      meetings.set(meeting, [...(meetings.get(meeting) ?? []), node]);
    }
  return [...alone, ...[...meetings.values()].filter((group) => group.length > 1)];
}

interface Need {
  what: string;
  /** Of one container. */
  each: number;
  unit: string;
  there(node: NodeFacts): number;
}

function needs(fn: FunctionSpec): Need[] {
  const all: Need[] = [
    { what: "cpu", each: request(fn.cpu), unit: "", there: (node) => node.cpuMillis / 1000 },
    { what: "memory", each: request(fn.memory), unit: " MiB", there: (node) => Math.floor(node.memoryBytes / MIB) },
  ];
  if (fn.gpu === null) return all;
  const { model, count } = gpuWish(fn.gpu);
  const there = (node: NodeFacts): number => node.gpus.filter((gpu) => isModel(gpu.model, model)).length;
  return [...all, { what: `gpu ${model}`, each: count, unit: "", there }];
}

/** How many containers what a node has of something would do for. A thousandth of a core is not missed for want of exactness. */
const places = ({ each, there }: Need, node: NodeFacts): number =>
  each > 0 ? Math.floor(there(node) / each + 1e-9) : Number.POSITIVE_INFINITY;

const sum = (numbers: number[]): number => numbers.reduce((all, one) => all + one, 0);

const roomOn = (fn: FunctionSpec, group: NodeFacts[]): number =>
  sum(group.map((node) => Math.min(...needs(fn).map((need) => places(need, node)))));

/** What an empty node, or several together, lack for all of a gang's containers. */
function lacks(fn: FunctionSpec, group: NodeFacts[]): { need: Need; asked: number; there: number }[] {
  const found = needs(fn).map((need) => ({
    need,
    asked: need.each * gangOf(fn),
    // Of several nodes only what whole containers can use.
    there: group.length === 1 ? need.there(group[0]!) : need.each * sum(group.map((node) => places(need, node))),
  }));
  return found.filter(({ asked, there }) => asked > there);
}

/** On the node, or the nodes, that lack least. */
function whatIsMissing(fn: FunctionSpec, nodes: NodeFacts[]): string {
  const shortage = (group: NodeFacts[]): number => sum(lacks(fn, group).map(({ asked, there }) => 1 - there / asked));
  const best = groupsOf(fn, nodes).sort((a, b) => shortage(a) - shortage(b))[0]!;
  const parts = lacks(fn, best).map(
    ({ need: { what, unit }, asked, there }) =>
      `${what}: ${asked}${unit} ${isGang(fn) ? "in all" : "asked"}, ${there}${unit} there`,
  );
  const who = best.length > 1 ? `its ${best.length} nodes together do not have` : "no node has";
  if (parts.length === 0) return `${who} room for more than ${roomOn(fn, best)} containers`;
  return `${who} enough ${parts.join("; ")}${apart(fn, nodes)}`;
}

/** Nodes that would do together, if they could reach each other. */
function apart(fn: FunctionSpec, nodes: NodeFacts[]): string {
  const docker = nodes.filter(({ engine }) => engine === "docker");
  const alone = docker.filter(({ meets = [] }) => meets.length === 0);
  if (alone.length > 0 && docker.length > 1 && roomOn(fn, docker) >= gangOf(fn))
    return `; for a gang on several nodes their Docker daemons have to be in one Swarm (docker swarm init, docker swarm join), which ${alone.map(({ id }) => id).join(", ")} ${alone.length > 1 ? "are" : "is"} not`;
  const processes = nodes.filter(({ engine }) => engine === "process");
  if (processes.some(({ address }) => !address) && roomOn(fn, processes) >= gangOf(fn))
    return "; for a gang on several machines each needs FABRIC_NODE_ADDRESS, at which the others reach it";
  return "";
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
