/** What this node has to offer: cpu, memory and GPUs, as configured or as found. */
import { hostname, totalmem } from "node:os";
import { z } from "zod";
import type { Gpu, NodeFacts } from "../core/capacity-ledger.ts";
import { type Config, machineCores } from "../core/config.ts";
import type { EngineReport } from "../core/engine.ts";
import { runCommand } from "../core/run-command.ts";
import type { NodeIdentity } from "./container-plan.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** Cores are reserved, not pinned: most functions wait more than they compute. */
const CPU_SHARE = 4;

const declaredSchema = z.array(
  z.object({ uuid: z.string().min(1).max(128), model: z.string().min(1), memoryBytes: z.number().positive() }),
);

/** Lines of `nvidia-smi --query-gpu=uuid,name,memory.total --format=csv,noheader,nounits`. */
export function parseGpus(csv: string): Gpu[] {
  return csv
    .split("\n")
    .map((line) => line.split(",").map((cell) => cell.trim()))
    .filter(([uuid, model, memory]) => uuid?.startsWith("GPU-") && model && Number(memory) > 0)
    .map(([uuid, model, memory]) => ({ uuid: uuid!, model: model!, memoryBytes: Number(memory) * MIB }));
}

export function declaredGpus(json: string): Gpu[] {
  try {
    return declaredSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new Error('FABRIC_GPUS is not JSON of the form [{"uuid","model","memoryBytes"}]', { cause });
  }
}

const QUERY = ["--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"];

/** Most machines have no such program (code 127), which says that there are no GPUs to lease. */
async function foundGpus(): Promise<Gpu[]> {
  const { code, stdout } = await runCommand("nvidia-smi", QUERY);
  return code === 0 ? parseGpus(stdout) : [];
}

export async function nodeFacts(
  config: Pick<Config, "nodeCpu" | "nodeMemory" | "gpus" | "nodeAddress">,
  identity: NodeIdentity,
  { engine, meets, makesNetworks }: Pick<EngineReport, "engine" | "meets" | "makesNetworks">,
  now: number,
): Promise<NodeFacts> {
  return {
    id: identity.node,
    runner: identity.runner,
    engine,
    hostname: hostname(),
    cpuMillis: Math.round((config.nodeCpu || machineCores() * CPU_SHARE) * 1000),
    memoryBytes: config.nodeMemory ? config.nodeMemory * MIB : Math.max(GIB / 2, totalmem() - GIB),
    gpus: config.gpus ? declaredGpus(config.gpus) : await foundGpus(),
    startedAt: now,
    meets,
    makesNetworks: makesNetworks === true,
    ...(config.nodeAddress === "" ? {} : { address: config.nodeAddress }),
  };
}
