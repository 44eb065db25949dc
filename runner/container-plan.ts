/** What a container of a version is started with: a plan to the engine's spec, its labels, and back from labels. */
import { join } from "node:path";
import type { CapacityRequest } from "../core/capacity-ledger.ts";
import type { ContainerPaths, ContainerSpec } from "../core/engine.ts";
import { gangOf, threadsOf } from "../core/gang.ts";
import { type FunctionKey, functionKey } from "../core/invocation.ts";
import type { ToShim } from "../core/protocol.ts";
import { type FunctionSpec, limit, request, slotsOf, type VersionManifest } from "../core/spec.ts";
import { needsVariant, type ServedFunction, specName, variantText } from "../core/variant.ts";
import { SOCKET_NAME } from "./dirs.ts";

export interface NodeIdentity {
  fabric: string;
  node: string;
  /** Owner of leases; the same after a restart. */
  runner: string;
}

export interface ContainerPlan {
  id: string;
  fn: ServedFunction;
  manifest: VersionManifest;
  gpus: string[];
  /** It is one of a gang's. */
  member?: Member;
}

export interface Member {
  gang: string;
  /** Its place among the gang's containers. */
  node: number;
  /** Rank of its first process. */
  firstRank: number;
  procs: number;
  /** The gang is on several nodes. */
  spans: boolean;
}

/** A gang as its pool sees it: like one container with one slot. `gpus` are those of all its containers. */
export interface GangPlan extends ContainerPlan {
  members: PlannedMember[];
}

export interface PlannedMember {
  id: string;
  /** The node it is booked on. */
  at: string;
  gpus: string[];
}

export const isGangPlan = (plan: ContainerPlan): plan is GangPlan => "members" in plan;

/** Under which names the ledger has it, by node. */
export function bookedBy({ id, plan }: { id: string; plan: ContainerPlan }, node: string): Map<string, string[]> {
  if (!isGangPlan(plan)) return new Map([[node, [id]]]);
  const found = new Map<string, string[]>();
  for (const one of plan.members) found.set(one.at, [...(found.get(one.at) ?? []), one.id]);
  return found;
}

export const LABELS = {
  fabric: "fabric.id",
  node: "fabric.node",
  app: "fabric.app",
  fn: "fabric.function",
  version: "fabric.version",
  variant: "fabric.variant",
  /** Of a container that belongs to one. */
  gang: "fabric.gang",
} as const;

export const keyOf = ({ fn, manifest }: Pick<ContainerPlan, "fn" | "manifest">): FunctionKey =>
  functionKey(manifest.app, fn.name);

const MIB = 1024 * 1024;

export function capacityRequest(
  node: string,
  container: string,
  fn: FunctionSpec,
  manifest: VersionManifest,
): CapacityRequest {
  const [model, count] = fn.gpu?.split(":") ?? [];
  return {
    node,
    container,
    key: functionKey(manifest.app, fn.name),
    cpuMillis: Math.round(request(fn.cpu) * 1000),
    memoryBytes: Math.round(request(fn.memory) * MIB),
    ...(model ? { gpu: { model, count: Number(count ?? 1) } } : {}),
    // A gang counts as one of them.
    maxContainers: fn.max_containers * gangOf(fn),
  };
}

/** All that a restarted runner needs to adopt the container; the manifest has the rest. */
export const labelsOf = (
  { fabric, node }: NodeIdentity,
  { fn, manifest, member }: ContainerPlan,
): Record<string, string> => ({
  [LABELS.fabric]: fabric,
  [LABELS.node]: node,
  [LABELS.app]: manifest.app,
  [LABELS.fn]: fn.name,
  [LABELS.version]: manifest.version,
  ...(fn.variant && needsVariant(fn.name) ? { [LABELS.variant]: variantText(fn.variant) } : {}),
  ...(member ? { [LABELS.gang]: member.gang } : {}),
});

/** Data loaders hand batches over in shared memory, and NCCL its buffers: Docker's 64 MiB are too small for both. */
const GANG_SHM_BYTES = 1024 * MIB;

const SHIM = "fabric_sdk._shim";

export function containerSpec(
  plan: ContainerPlan,
  identity: NodeIdentity,
  folders: Pick<ContainerSpec, "socketDir" | "bundleDir" | "sdkDir" | "scratchDir">,
  paths: ContainerPaths,
): ContainerSpec {
  const { fn, manifest, gpus, member } = plan;
  const cpuLimit = limit(fn.cpu);
  const memoryLimit = limit(fn.memory);
  return {
    id: plan.id,
    labels: labelsOf(identity, plan),
    image: manifest.images[fn.image]!.ref,
    command: ["python", "-m", member ? `${SHIM}.gang` : fn.respawn ? `${SHIM}.parent` : SHIM],
    env: {
      PYTHONPATH: paths.sdk,
      PYTHONUNBUFFERED: "1",
      FABRIC_SOCKET: join(paths.socket, SOCKET_NAME),
      FABRIC_CONTAINER: plan.id,
      // "void" also hides the devices of hosts whose container runtime shows all of them by default.
      NVIDIA_VISIBLE_DEVICES: gpus.length > 0 ? gpus.join(",") : "void",
      CUDA_VISIBLE_DEVICES: gpus.join(","),
      ...(member ? { FABRIC_RANK_THREADS: String(threadsOf(request(fn.cpu), member.procs)) } : {}),
    },
    ...folders,
    network: fn.network,
    ...(cpuLimit === undefined ? {} : { cpuLimit }),
    ...(memoryLimit === undefined ? {} : { memoryLimitBytes: Math.round(memoryLimit * MIB) }),
    gpus,
    ...(member ? { shmBytes: GANG_SHM_BYTES } : {}),
    ...(member && gangOf(fn) > 1 ? { gang: member.gang, spans: member.spans } : {}),
  };
}

/** The classes by which the container judges what its function raises; most policies name none. */
function retryClasses({ retries }: FunctionSpec) {
  if (typeof retries === "number") return undefined;
  const { retry_for, dont_retry_for } = retries;
  return retry_for.length + dont_retry_for.length > 0 ? { retry_for, dont_retry_for } : undefined;
}

export const startFrame = (plan: ContainerPlan, paths: ContainerPaths): Extract<ToShim, { type: "start" }> => ({
  type: "start",
  protocol: 1,
  container: plan.id,
  bundle: paths.bundle,
  scratch: paths.scratch,
  function: {
    name: specName(plan.fn.name),
    entry: plan.fn.entry,
    is_async: plan.fn.is_async,
    batched: plan.fn.batched,
    retry: retryClasses(plan.fn),
    // Absent in manifests that were stored before there was such an option.
    preload: plan.fn.preload?.length > 0 ? plan.fn.preload : undefined,
    class: plan.fn.class && {
      parameters: plan.fn.variant?.parameters ?? {},
      methods: plan.fn.class.methods.map(({ name, is_async, batched }) => ({ name, is_async, batched })),
    },
  },
  slots: slotsOf(plan.fn),
});
