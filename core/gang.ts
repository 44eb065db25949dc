/** What a gang is: how many containers and ranks, which options go with it, and what each rank finds in its environment. Pure. */

/** More ranks than this is a typing error; torchrun's own limits lie far below. */
export const MAX_RANKS = 1024;
/** A container's shim tells ranks apart by number; a request's number carries its rank above these bits. */
export const RANK_SHIFT = 2 ** 32;

interface GangOptions {
  /** Absent in manifests from before there were gangs. */
  gang?: number | null;
  procs?: number | "auto";
}

/** Containers that one attempt of the function needs. */
export const gangOf = ({ gang }: GangOptions): number => gang ?? 1;
export const isGang = ({ gang }: GangOptions): boolean => typeof gang === "number";

/** Ranks of one container: one for each GPU it was granted, else one. */
export const procsOf = ({ procs }: GangOptions, gpus: number): number =>
  typeof procs === "number" ? procs : Math.max(1, gpus);

/** Why these options cannot go together; undefined when they can. */
export function gangProblem(
  spec: GangOptions & { max_inputs: number; is_generator: boolean; batched?: unknown; class?: unknown },
): string | undefined {
  if (!isGang(spec)) return spec.procs === "auto" || spec.procs === undefined ? undefined : "procs goes with gang";
  if (spec.class !== undefined) return "a class cannot be a gang; only functions can";
  if (spec.max_inputs > 1) return "a gang runs one input at a time: max_inputs must be 1";
  if (spec.batched !== undefined) return "a batched function cannot be a gang";
  if (spec.is_generator) return "a generator cannot be a gang: rank 0's return value is its result";
  if (gangOf(spec) * procsOf(spec, 1) > MAX_RANKS) return `gang times procs is over ${MAX_RANKS} ranks`;
  return undefined;
}

/** Threads for each rank of a container with so many cores, for OMP_NUM_THREADS. */
export const threadsOf = (cores: number, procs: number): number => Math.max(1, Math.floor(cores / procs));

/** One attempt of a gang, as its ranks see it. */
export interface Launch {
  id: string;
  generation: number;
  /** Attempts before this one. */
  restarts: number;
  containers: readonly { id: string; procs: number }[];
  master: { address: string; port: number };
}

export interface RankEnvironment {
  rank: number;
  localRank: number;
  env: Record<string, string>;
}

/**
 * torchrun's variables, so that its scripts work unchanged, for the ranks of container `node`. The store's port and prefix are
 * another attempt's never again: ranks that are left of an earlier one must find nobody.
 */
export function rankEnvironments(launch: Launch, node: number): RankEnvironment[] {
  const { containers, master } = launch;
  const { id: container, procs } = containers[node]!;
  const first = containers.slice(0, node).reduce((sum, one) => sum + one.procs, 0);
  const world = containers.reduce((sum, one) => sum + one.procs, 0);
  return Array.from({ length: procs }, (_, localRank) => {
    const rank = first + localRank;
    const env = {
      RANK: rank,
      LOCAL_RANK: localRank,
      WORLD_SIZE: world,
      LOCAL_WORLD_SIZE: procs,
      NODE_RANK: node,
      GROUP_RANK: node,
      GROUP_WORLD_SIZE: containers.length,
      ROLE_NAME: "default",
      ROLE_RANK: rank,
      ROLE_WORLD_SIZE: world,
      MASTER_ADDR: master.address,
      MASTER_PORT: master.port,
      TORCHELASTIC_RUN_ID: `${launch.id}-${launch.generation}`,
      TORCHELASTIC_RESTART_COUNT: launch.restarts,
      NCCL_HOSTID: container,
    };
    return {
      rank,
      localRank,
      env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)])),
    };
  });
}
