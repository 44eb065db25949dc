/** The engine that isolates: function containers by Docker, with the profile of docker-profile.ts. */
import { setTimeout as delay } from "node:timers/promises";
import type Docker from "dockerode";
import {
  askDocker,
  askDockerUnless,
  type DockerClient,
  dockerClient,
  dockerMessage,
  dockerStatus,
  isUnreachable,
} from "../../core/docker-client.ts";
import { waitForContainer } from "../../core/docker-wait.ts";
import type {
  ContainerEngine,
  ContainerExit,
  ContainerSpec,
  ContainerState,
  ContainerStatus,
} from "../../core/engine.ts";
import { FabricError } from "../../core/errors.ts";
import { PATHS } from "./container-paths.ts";
import { type CgroupLimits, defaultReserve, limitsOf, makeCgroup, removeCgroup } from "./docker-cgroup.ts";
import { type Egress, type EgressOptions, prepareEgress, removeEgress } from "./docker-egress.ts";
import { dockerGangs, type GangOwner, type Swarm, swarmOf } from "./docker-gang.ts";
import { demultiplex, lastBytes } from "./docker-logs.ts";
import { createRequest, FABRIC_LABEL, joinsAtOnce, NODE_LABEL } from "./docker-profile.ts";
import { dockerNotices } from "./docker-report.ts";
import { defaultUser, giveSockets, giveTree, type Owner } from "./scratch.ts";

/** Ids of this fabric and node: only containers labelled with both are ever looked at. */
export interface DockerEngineOptions extends EgressOptions, GangOwner {
  /** As DOCKER_HOST; absent: the daemon's usual socket. */
  dockerHost?: string;
  /** The operator's container runtime, such as runsc. */
  runtime?: string;
  /** Who functions run as; default 10001, or the runner's own user when that is not root (it could not chown scratch). */
  user?: Owner;
  /** Left free on the node for everything that is not a function. */
  reserve?: CgroupLimits;
  /** Processes and threads per container. */
  pidsLimit?: number;
  /** Size of /dev/shm; it counts as the container's memory. */
  shmBytes?: number;
}

/** How long `wait` rides out a daemon that is away (a restart with live-restore keeps containers running). */
const OUTAGE_MS = 60_000;
const STATES: Record<string, ContainerState> = {
  created: "created",
  exited: "exited",
  dead: "exited",
  removing: "exited",
};

interface Prepared {
  version: string;
  notices: string[];
  cgroupParent?: string;
  egress: Egress;
  swarm: Swarm;
}

async function examine(docker: DockerClient, options: DockerEngineOptions): Promise<Prepared> {
  const info = await askDocker(() => docker.info());
  const { Version: version, Components: components = [] } = (await askDocker(() => docker.version())) as {
    Version: string;
    Components?: { Name: string; Version: string }[];
  };
  const notices = dockerNotices(
    {
      version,
      components: components.map(({ Name, Version }) => ({ name: Name, version: Version })),
      securityOptions: info.SecurityOptions ?? [],
      memoryLimit: info.MemoryLimit === true,
      swapLimit: info.SwapLimit === true,
      runtimes: Object.keys(info.Runtimes ?? {}),
    },
    options.runtime,
  );
  const size = { memoryBytes: Number(info.MemTotal), cpus: Number(info.NCPU) };
  const host = { version: String(info.CgroupVersion ?? "1"), driver: String(info.CgroupDriver) };
  let cgroupParent: string | undefined;
  try {
    cgroupParent = await makeCgroup(options.fabric, host, limitsOf(size, options.reserve ?? defaultReserve(size)));
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    notices.push(
      `No parent cgroup for functions (${reason}): only their own limits keep them from taking the whole node.`,
    );
  }
  const egress = await prepareEgress(docker, options.fabric, options);
  return { version, notices: [...notices, ...egress.notices], cgroupParent, egress, swarm: swarmOf(info) };
}

/** What Docker answered to create or start, as our code: a missing image is not a failed start. */
function startError(thrown: unknown, spec: ContainerSpec): FabricError {
  if (thrown instanceof FabricError) return thrown;
  const message = dockerMessage(thrown);
  const missing = dockerStatus(thrown) === 404 && /no such image/i.test(message);
  if (missing)
    return new FabricError("image_missing", `${message}. Deploy again.`, { image: spec.image }, { cause: thrown });
  return new FabricError("container_start_failed", `Docker could not start the container: ${message}`, undefined, {
    cause: thrown,
  });
}

const exitOf = (state: { ExitCode: number; OOMKilled?: boolean }): ContainerExit => ({
  code: state.ExitCode,
  // Docker sets the flag for any process of the container; only 137 says that the main one was it.
  outOfMemory: state.OOMKilled === true && state.ExitCode === 137,
});

export function dockerEngine(options: DockerEngineOptions): ContainerEngine {
  const client = dockerClient(options);
  const user = options.user ?? defaultUser();
  let prepared: Promise<Prepared> | undefined;
  const gangs = dockerGangs(client, options);

  function ready(): Promise<Prepared> {
    prepared ??= client()
      .then((docker) => examine(docker, options))
      .catch((thrown: unknown) => {
        prepared = undefined;
        throw thrown;
      });
    return prepared;
  }

  const container = async (id: string): Promise<Docker.Container> => (await client()).getContainer(id);

  async function remove(id: string): Promise<void> {
    const found = await container(id);
    const removed = await askDockerUnless([404, 409], () => found.remove({ force: true, v: true }).then(() => true));
    // 409: somebody else is removing it; the promise is that it is gone afterwards.
    if (!removed) await waitForContainer(options, id, "removed");
  }

  /** Docker can fail a call that it carried out, so what a failed start left is removed by name. */
  async function undo(id: string, cause: FabricError): Promise<never> {
    try {
      await remove(id);
    } catch (thrown) {
      throw new FabricError(
        cause.code,
        `${cause.message} (and removing it failed: ${dockerMessage(thrown)})`,
        cause.details,
        { cause },
      );
    }
    throw cause;
  }

  async function start(spec: ContainerSpec): Promise<void> {
    const { egress, cgroupParent } = await ready();
    // The rules also keep gangs' bridges from this host; overlays do not reach it.
    if (spec.network === "egress" || (spec.gang && !spec.spans)) await egress.admit();
    await giveTree(spec.scratchDir, user);
    await giveSockets(spec.socketDir, user);
    const profile = {
      fabric: options.fabric,
      node: options.node,
      ...user,
      pidsLimit: options.pidsLimit ?? 4096,
      shmBytes: options.shmBytes ?? 64 * 1024 * 1024,
      runtime: options.runtime,
      cgroupParent,
      egressNetwork: egress.network.name,
    };
    const docker = await client();
    try {
      if (spec.gang && !spec.spans) await gangs.stands(spec.gang);
      await askDocker(() => docker.createContainer(createRequest(spec, profile)));
    } catch (thrown) {
      const error = startError(thrown, spec);
      // 409: the name is another container's, which is not ours to remove.
      if (dockerStatus(thrown) === 409 || error.code === "image_missing") throw error;
      await undo(spec.id, error);
    }
    try {
      if (spec.gang && !joinsAtOnce(spec)) await gangs.join(spec.id, spec.gang);
      await askDocker(() => docker.getContainer(spec.id).start());
    } catch (thrown) {
      await undo(spec.id, startError(thrown, spec));
    }
  }

  async function waitOnce(id: string, signal?: AbortSignal): Promise<ContainerExit | undefined> {
    const code = await waitForContainer(options, id, "not-running", signal);
    if (code === undefined) return undefined;
    const found = await container(id);
    const after = await askDockerUnless([404], () => found.inspect());
    return after ? exitOf(after.State) : { code, outOfMemory: false };
  }

  async function wait(id: string, signal?: AbortSignal): Promise<ContainerExit | undefined> {
    let awaySince: number | undefined;
    for (;;) {
      signal?.throwIfAborted();
      const asked = performance.now();
      try {
        return await waitOnce(id, signal);
      } catch (thrown) {
        signal?.throwIfAborted();
        if (!isUnreachable(thrown)) throw thrown;
        // A connection that stood for a while was lost just now.
        if (awaySince === undefined || performance.now() - asked > 5_000) awaySince = performance.now();
        if (performance.now() - awaySince > OUTAGE_MS) throw thrown;
        await delay(250, undefined, { signal });
      }
    }
  }

  /** 404: gone, 409: not running; both are what was asked for. */
  const kill = async (id: string, signal: string): Promise<boolean> => {
    const found = await container(id);
    return (await askDockerUnless([404, 409], () => found.kill({ signal }).then(() => true))) === true;
  };

  async function stop(id: string, graceMs: number): Promise<void> {
    if (graceMs > 0) {
      if (!(await kill(id, "SIGTERM"))) return;
      const grace = AbortSignal.timeout(graceMs);
      try {
        await wait(id, grace);
        return;
      } catch (thrown) {
        if (!grace.aborted) throw thrown;
      }
    }
    if (await kill(id, "SIGKILL")) await wait(id);
  }

  async function list(labels: Record<string, string>): Promise<ContainerStatus[]> {
    const wanted = { ...labels, [FABRIC_LABEL]: options.fabric, [NODE_LABEL]: options.node };
    const label = Object.entries(wanted).map(([name, value]) => `${name}=${value}`);
    const docker = await client();
    const found = await askDocker(() => docker.listContainers({ all: true, filters: { label } }));
    const statuses = await Promise.all(found.map(({ Id }) => status(docker.getContainer(Id))));
    return statuses.filter((one) => one !== undefined);
  }

  async function status(found: Docker.Container): Promise<ContainerStatus | undefined> {
    const inspected = await askDockerUnless([404], () => found.inspect());
    if (!inspected) return undefined;
    const state = STATES[inspected.State.Status] ?? "running";
    return {
      id: inspected.Name.replace(/^\//, ""),
      labels: inspected.Config.Labels ?? {},
      state,
      ...(state === "exited" ? { exit: exitOf(inspected.State) } : {}),
    };
  }

  async function tail(id: string, maxBytes: number): Promise<string> {
    const found = await container(id);
    const output = await askDockerUnless([404], () =>
      found.logs({ stdout: true, stderr: true, follow: false, tail: 500 }),
    );
    return output ? lastBytes(demultiplex(output), maxBytes) : "";
  }

  return {
    name: "docker",
    async prepare() {
      prepared = undefined;
      const { version, notices, swarm } = await ready();
      return { engine: "docker", version, notices, ...swarm };
    },
    paths: () => PATHS,
    start,
    wait,
    stop,
    remove,
    list,
    tail,
    addressOf: gangs.addressOf,
    spanGang: gangs.span,
    endGang: gangs.end,
    async close() {
      const made = prepared;
      prepared = undefined;
      try {
        await (await made)?.egress.release();
      } catch (thrown) {
        // A daemon that is away has nothing to give back to.
        if (!isUnreachable(thrown)) throw thrown;
      }
    },
  };
}

/** Takes away what `prepare` made, for the end of a fabric; its containers must be gone. */
export async function removeDockerTraces(options: DockerEngineOptions): Promise<void> {
  const docker = await dockerClient(options)();
  await removeEgress(docker, options.fabric, options);
  const info = await askDocker(() => docker.info());
  await removeCgroup(options.fabric, { version: String(info.CgroupVersion ?? "1"), driver: String(info.CgroupDriver) });
}
