/**
 * The seam to whatever makes containers on a node. Two implementations pass one contract suite: `docker` (isolation) and
 * `process` (none, for laptops). An engine knows nothing of invocations; it starts, watches and ends sandboxes.
 */

export type EngineName = "docker" | "process";

/** Everything an engine needs to start one container; no field comes from a user unchecked. */
export interface ContainerSpec {
  /** Also its name: `con_...`. */
  id: string;
  /** Kept by the engine and given back by `list`, so that a restarted runner can adopt the container. */
  labels: Record<string, string>;
  /** The engine's own reference to a built image (docker: image id; process: the venv's folder). */
  image: string;
  /** Argument vector, as it runs inside; element 0 is an absolute path or a name on the image's PATH. */
  command: string[];
  env: Record<string, string>;
  /** Host folder with the shim's socket; appears read-only at `PATHS.socket`. */
  socketDir: string;
  /** Host folder of the bundle; read-only at `PATHS.bundle`. */
  bundleDir: string;
  /** Host folder with fabric_sdk and its dependencies; read-only at `PATHS.sdk`. */
  sdkDir: string;
  /** Host folder only this container writes; HOME, TMPDIR and working directory. Made by the caller, owned by the engine after `create`. */
  scratchDir: string;
  network: "none" | "egress";
  /** Hard caps; absent means bounded only by the parent cgroup. */
  cpuLimit?: number;
  memoryLimitBytes?: number;
  /** GPU UUIDs booked for it. */
  gpus: string[];
  /** Least size of /dev/shm; it counts as the container's memory. */
  shmBytes?: number;
  /** Id of the gang whose containers it reaches, and is reached by, whatever `network` says; nobody else is. */
  gang?: string;
  /** Some of them are on other nodes, and what they share is made already. */
  spans?: boolean;
}

/** Where the host folders appear inside; the process engine has no inside, so ask `engine.paths(spec)`. */
export interface ContainerPaths {
  socket: string;
  bundle: string;
  sdk: string;
  scratch: string;
}

export type ContainerState = "created" | "running" | "exited";

export interface ContainerStatus {
  id: string;
  labels: Record<string, string>;
  state: ContainerState;
  exit?: ContainerExit;
}

export interface ContainerExit {
  /** 128 + n when signal n ended it. */
  code: number;
  /** The kernel killed the main process (not merely a child) for memory. */
  outOfMemory: boolean;
}

export interface EngineReport {
  engine: EngineName;
  version: string;
  /** What a person should know: isolation that is missing, versions with known holes. */
  notices: string[];
  /** Nodes with one of these in common can have a gang together; none: a gang here is on this node altogether. */
  meets: string[];
  /** It can make the network of a gang on several nodes. */
  makesNetworks?: boolean;
}

export interface ContainerEngine {
  readonly name: EngineName;
  /** Answers or throws `engine_unavailable`; makes what the engine needs once (network, parent cgroup). */
  prepare(): Promise<EngineReport>;
  paths(spec: Pick<ContainerSpec, "socketDir" | "bundleDir" | "sdkDir" | "scratchDir">): ContainerPaths;
  /** Creates and starts. Throws `image_missing` or `container_start_failed` and leaves nothing behind. */
  start(spec: ContainerSpec): Promise<void>;
  /** Resolves when the container has ended, also for one started by an earlier process of ours. `undefined`: no such container. */
  wait(id: string, signal?: AbortSignal): Promise<ContainerExit | undefined>;
  /** SIGTERM, then SIGKILL after `graceMs`. A container that is gone already is no error. */
  stop(id: string, graceMs: number): Promise<void>;
  /** Removes the container and what the engine kept for it, killing it if need be. One that is gone is no error. */
  remove(id: string): Promise<void>;
  /** All containers with these labels, ended ones too. */
  list(labels: Record<string, string>): Promise<ContainerStatus[]>;
  /** The last bytes the main process wrote to its own stdout and stderr; for messages about a shim that died early. */
  tail(id: string, maxBytes: number): Promise<string>;
  /** The IPv4 address at which the others of its gang reach a container that runs. */
  addressOf(id: string): Promise<string>;
  /** Makes what containers of a gang on several nodes share, where `makesNetworks` says so; before any of them starts. */
  spanGang(id: string): Promise<void>;
  /**
   * Takes away what the containers of a gang shared, once they are removed; without an id, of all gangs without containers. False
   * when some of it is in use still.
   */
  endGang(id?: string): Promise<boolean>;
  close(): Promise<void>;
}
