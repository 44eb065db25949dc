/** Makes a fabric's egress network with its rules, and says whether containers may use it. */
import { hostname } from "node:os";
import { askDocker, askDockerUnless, type DockerClient } from "../../core/docker-client.ts";
import { FabricError, fail } from "../../core/errors.ts";
import { type EgressNetwork, egressNetwork, type FirewallPolicy, NETWORK_PREFIX } from "./docker-network.ts";
import {
  firewallStands,
  type HostCommand,
  helperCommand,
  installFirewall,
  localCommand,
  nodeNetworks,
  removeFirewall,
  seesBridge,
} from "./firewall.ts";

export interface EgressOptions {
  /** Private ranges functions may reach all the same, as CIDR. */
  allow?: string[];
  /** Name servers functions may ask; default: those of the host's /etc/resolv.conf. */
  resolvers?: string[];
  /** An image with iptables, for a runner that is not in the host's network namespace or not root. */
  firewallImage?: string;
  /** The operator accepts egress without rules where they cannot be installed. */
  allowOpenEgress?: boolean;
}

export interface Egress {
  network: EgressNetwork;
  notices: string[];
  /** Throws `container_start_failed` where egress is not to be had; puts rules back that somebody flushed. */
  admit(): Promise<void>;
  /** Gives the network back unless containers are on it: Docker has addresses for about 30 networks. */
  release(): Promise<void>;
}

/** How long rules found in place are believed. */
const RECHECK_MS = 30_000;

/** Says whether it was missing. */
async function makeNetwork(docker: DockerClient, fabric: string, network: EgressNetwork): Promise<boolean> {
  const found = await askDockerUnless([404], () => docker.getNetwork(network.name).inspect());
  if (found) return false;
  // 409: another runner of this fabric on the same daemon was faster.
  await askDockerUnless([409], () =>
    docker.createNetwork({
      Name: network.name,
      CheckDuplicate: true,
      Driver: "bridge",
      EnableIPv6: false,
      Labels: { "fabric.id": fabric },
      Options: {
        "com.docker.network.bridge.name": network.bridge,
        "com.docker.network.bridge.enable_icc": "false",
      },
    } as Parameters<DockerClient["createNetwork"]>[0]),
  );
  return true;
}

/** 403: running containers are on it, so it stays. Says whether it is gone. */
async function removeNetwork(docker: DockerClient, network: EgressNetwork): Promise<boolean> {
  if (!(await askDockerUnless([404], () => docker.getNetwork(network.name).inspect()))) return true;
  return (
    (await askDockerUnless([403, 404], () =>
      docker
        .getNetwork(network.name)
        .remove()
        .then(() => true),
    )) === true
  );
}

/** A runner in a container made from our own image, which has iptables, finds it by the container id that is its host name. */
async function ownImage(docker: DockerClient): Promise<string | undefined> {
  const self = await askDockerUnless([404], () => docker.getContainer(hostname()).inspect());
  return self?.Config.Labels?.["fabric.firewall"] === "yes" ? self.Image : undefined;
}

async function hostCommand(docker: DockerClient, network: EgressNetwork, options: EgressOptions): Promise<HostCommand> {
  if (seesBridge(network) && process.getuid?.() === 0) return localCommand;
  const image = options.firewallImage ?? (await ownImage(docker));
  if (image) return helperCommand(docker, image);
  return fail("engine_unavailable", "the runner is not root in the host's network, and no helper image is configured");
}

export async function prepareEgress(docker: DockerClient, fabric: string, options: EgressOptions): Promise<Egress> {
  const network = egressNetwork(fabric);
  await makeNetwork(docker, fabric, network);

  let run: HostCommand;
  let policy: FirewallPolicy;
  try {
    run = await hostCommand(docker, network, options);
    const { resolvers, attached } = await nodeNetworks(run, network);
    policy = { resolvers: options.resolvers ?? resolvers, allow: options.allow ?? [], attached };
    await installFirewall(run, network, policy);
  } catch (thrown) {
    if (!(thrown instanceof FabricError)) throw thrown;
    return withoutRules(docker, fabric, thrown.message, options.allowOpenEgress === true);
  }

  let believedUntil = performance.now() + RECHECK_MS;
  return {
    network,
    notices: [],
    async admit() {
      const made = await makeNetwork(docker, fabric, network);
      if (!made && performance.now() < believedUntil) return;
      if (!(await firewallStands(run, network))) await installFirewall(run, network, policy);
      believedUntil = performance.now() + RECHECK_MS;
    },
    async release() {
      if (await removeNetwork(docker, network)) await removeFirewall(run, network);
    },
  };
}

function withoutRules(docker: DockerClient, fabric: string, reason: string, consented: boolean): Egress {
  const network = egressNetwork(fabric);
  const why = `Egress rules cannot be installed (${reason}).`;
  return {
    network,
    notices: [
      consented
        ? `${why} By the operator's consent functions with network "egress" run all the same and reach this host and its network.`
        : `${why} Functions with network "egress" will not start; run the runner as root on the host or consent to open egress.`,
    ],
    async admit() {
      const way = `Use network "none", or let the operator consent to open egress.`;
      if (!consented) fail("container_start_failed", `${why} ${way}`);
      await makeNetwork(docker, fabric, network);
    },
    async release() {
      await removeNetwork(docker, network);
    },
  };
}

/** Takes the fabric's networks and their rules away, for its end; one that another node's containers are on stays. */
export async function removeEgress(docker: DockerClient, fabric: string, options: EgressOptions = {}): Promise<void> {
  const filters = { label: [`fabric.id=${fabric}`], name: [NETWORK_PREFIX] };
  for (const { Name: name } of await askDocker(() => docker.listNetworks({ filters }))) {
    const network = { ...egressNetwork(fabric), name };
    // Found before the network goes: a bridge tells whether this is the host's network namespace.
    const run = await hostCommand(docker, network, options).catch((thrown: unknown) => {
      if (!(thrown instanceof FabricError)) throw thrown;
      return undefined; // who may not set rules has set none
    });
    if ((await removeNetwork(docker, network)) && run) await removeFirewall(run, network);
  }
}
