/** What a container of a version is started with: a plan to the engine's spec, its labels, and back from labels. */
import { join } from "node:path";
import type { ContainerPaths, ContainerSpec } from "../core/engine.ts";
import { type FunctionKey, functionKey } from "../core/invocation.ts";
import type { ToShim } from "../core/protocol.ts";
import { type FunctionSpec, limit, request, type VersionManifest } from "../core/spec.ts";
import type { CapacityRequest } from "../core/state-store.ts";
import { SOCKET_NAME } from "./dirs.ts";

export interface NodeIdentity {
  fabric: string;
  node: string;
  /** Owner of leases; the same after a restart. */
  runner: string;
}

export interface ContainerPlan {
  id: string;
  fn: FunctionSpec;
  manifest: VersionManifest;
  gpus: string[];
}

export const LABELS = {
  fabric: "fabric.id",
  node: "fabric.node",
  app: "fabric.app",
  fn: "fabric.function",
  version: "fabric.version",
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
    maxContainers: fn.max_containers,
  };
}

/** All that a restarted runner needs to adopt the container; the manifest has the rest. */
export const labelsOf = ({ fabric, node }: NodeIdentity, { fn, manifest }: ContainerPlan): Record<string, string> => ({
  [LABELS.fabric]: fabric,
  [LABELS.node]: node,
  [LABELS.app]: manifest.app,
  [LABELS.fn]: fn.name,
  [LABELS.version]: manifest.version,
});

export function containerSpec(
  plan: ContainerPlan,
  identity: NodeIdentity,
  folders: Pick<ContainerSpec, "socketDir" | "bundleDir" | "sdkDir" | "scratchDir">,
  paths: ContainerPaths,
): ContainerSpec {
  const { fn, manifest, gpus } = plan;
  const cpuLimit = limit(fn.cpu);
  const memoryLimit = limit(fn.memory);
  return {
    id: plan.id,
    labels: labelsOf(identity, plan),
    image: manifest.images[fn.image]!.ref,
    command: ["python", "-m", "fabric_sdk._shim"],
    env: {
      PYTHONPATH: paths.sdk,
      PYTHONUNBUFFERED: "1",
      FABRIC_SOCKET: join(paths.socket, SOCKET_NAME),
      FABRIC_CONTAINER: plan.id,
      // "void" also hides the devices of hosts whose container runtime shows all of them by default.
      NVIDIA_VISIBLE_DEVICES: gpus.length > 0 ? gpus.join(",") : "void",
      CUDA_VISIBLE_DEVICES: gpus.join(","),
    },
    ...folders,
    network: fn.network,
    ...(cpuLimit === undefined ? {} : { cpuLimit }),
    ...(memoryLimit === undefined ? {} : { memoryLimitBytes: Math.round(memoryLimit * MIB) }),
    gpus,
  };
}

export const startFrame = (plan: ContainerPlan, paths: ContainerPaths): Extract<ToShim, { type: "start" }> => ({
  type: "start",
  protocol: 1,
  container: plan.id,
  bundle: paths.bundle,
  scratch: paths.scratch,
  function: { name: plan.fn.name, entry: plan.fn.entry, is_async: plan.fn.is_async },
  slots: plan.fn.max_inputs,
});
