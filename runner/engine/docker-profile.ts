/** The one place that decides what a function container may do: a container spec to Docker's create request. */
import type { ContainerCreateOptions } from "dockerode";
import type { ContainerSpec } from "../../core/engine.ts";
import { PATHS } from "./container-paths.ts";

export const FABRIC_LABEL = "fabric.id";
export const NODE_LABEL = "fabric.node";

export interface DockerProfile {
  fabric: string;
  node: string;
  /** User and group everything inside runs as. */
  uid: number;
  gid: number;
  pidsLimit: number;
  shmBytes: number;
  /** runc when absent; runsc, kata... */
  runtime?: string;
  /** Cgroup that bounds all function containers together; absent where it could not be made. */
  cgroupParent?: string;
  /** Network of containers with `egress`. */
  egressNetwork: string;
}

/** Resolved as `/tmp` too: much code writes there, and the root is read-only. */
const binds = (spec: ContainerSpec): string[] => [
  `${spec.socketDir}:${PATHS.socket}:ro`,
  `${spec.bundleDir}:${PATHS.bundle}:ro`,
  `${spec.sdkDir}:${PATHS.sdk}:ro`,
  `${spec.scratchDir}:${PATHS.scratch}:rw`,
  `${spec.scratchDir}:/tmp:rw`,
];

const environment = (spec: ContainerSpec): string[] =>
  Object.entries({ HOME: PATHS.scratch, TMPDIR: PATHS.scratch, LANG: "C.UTF-8", ...spec.env }).map(
    ([name, value]) => `${name}=${value}`,
  );

export const gangNetworkName = (gang: string): string => `fabric-${gang}`;

/** A container on network "none" could not be given another one: its gang's is its only one from the start. */
export const joinsAtOnce = (spec: ContainerSpec): spec is ContainerSpec & { gang: string } =>
  spec.network === "none" && spec.gang !== undefined;

function networkOf(spec: ContainerSpec, profile: DockerProfile): string {
  if (joinsAtOnce(spec)) return gangNetworkName(spec.gang);
  return spec.network === "none" ? "none" : profile.egressNetwork;
}

/** Docker's resolver would carry names out of an internal network. Nobody answers it here, which is known after a second. */
const NO_NAMES = { Dns: ["127.0.0.1"], DnsOptions: ["timeout:1", "attempts:1"] };

/** No key of `spec` reaches HostConfig by itself: every field below is written out. */
export function createRequest(spec: ContainerSpec, profile: DockerProfile): ContainerCreateOptions {
  const { memoryLimitBytes, cpuLimit, gpus } = spec;
  return {
    name: spec.id,
    Image: spec.image,
    Entrypoint: [],
    Cmd: spec.command,
    Env: environment(spec),
    User: `${profile.uid}:${profile.gid}`,
    WorkingDir: PATHS.scratch,
    Labels: { ...spec.labels, [FABRIC_LABEL]: profile.fabric, [NODE_LABEL]: profile.node },
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      Binds: binds(spec),
      NetworkMode: networkOf(spec, profile),
      ...(joinsAtOnce(spec) ? NO_NAMES : {}),
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      PidsLimit: profile.pidsLimit,
      ShmSize: Math.max(profile.shmBytes, spec.shmBytes ?? 0),
      IpcMode: "private",
      // What a function writes to its own stdout is not its log (that goes through the shim), only a hint about early deaths.
      LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "2" } },
      Ulimits: [{ Name: "core", Soft: 0, Hard: 0 }],
      // When the node itself runs short, a function goes before fabric does.
      OomScoreAdj: 500,
      RestartPolicy: { Name: "no" },
      ...(profile.cgroupParent ? { CgroupParent: profile.cgroupParent } : {}),
      ...(profile.runtime ? { Runtime: profile.runtime } : {}),
      ...(memoryLimitBytes ? { Memory: memoryLimitBytes, MemorySwap: memoryLimitBytes } : {}),
      ...(cpuLimit ? { NanoCpus: Math.round(cpuLimit * 1e9) } : {}),
      // UUIDs, not a count: a count always gives the first devices.
      ...(gpus.length > 0 ? { DeviceRequests: [{ Driver: "", DeviceIDs: gpus, Capabilities: [["gpu"]] }] } : {}),
    },
  };
}
