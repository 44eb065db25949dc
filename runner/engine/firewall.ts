/** Installs the egress rules with iptables, here or through a helper container that shares the host's network. */
import { existsSync } from "node:fs";
import { askDocker, type DockerClient } from "../../core/docker-client.ts";
import { fail } from "../../core/errors.ts";
import { type CommandResult, runCommand } from "../../core/run-command.ts";
import { demultiplex, STDERR, STDOUT } from "./docker-logs.ts";
import {
  attachedOf,
  type EgressNetwork,
  type FirewallPolicy,
  jumps,
  resolversOf,
  restoreInput,
} from "./docker-network.ts";

/** Runs a program, mostly an iptables, in the network namespace of the Docker host. */
export type HostCommand = (argv: string[], input?: string) => Promise<CommandResult>;

/** Root without being asked for a path: Debian's users have no sbin on theirs. */
const SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

export const localCommand: HostCommand = ([program, ...args], input) =>
  runCommand(program!, args, { input, env: { PATH: SBIN } });

/**
 * Rules set in our own network namespace would be worth nothing when the runner is itself in a container, and iptables
 * would still report success. Only where the bridge can be seen is this the host's namespace.
 */
export const seesBridge = (network: EgressNetwork): boolean => existsSync(`/sys/class/net/${network.bridge}`);

/** Each command in a container of `image` (which has iptables) with the host's network and nothing else of the host. */
export function helperCommand(docker: DockerClient, image: string): HostCommand {
  return async (argv, input = "") => {
    const container = await askDocker(() =>
      docker.createContainer({
        Image: image,
        Entrypoint: ["/bin/sh", "-c", 'printf %s "$RULES" | "$@"', "sh"],
        Cmd: argv,
        Env: [`RULES=${input}`, `PATH=${SBIN}`],
        User: "0:0",
        HostConfig: { NetworkMode: "host", CapDrop: ["ALL"], CapAdd: ["NET_ADMIN", "NET_RAW"] },
      }),
    );
    try {
      await container.start();
      const { StatusCode: code } = (await container.wait()) as { StatusCode: number };
      const output = await container.logs({ stdout: true, stderr: true, follow: false });
      const text = (stream: typeof STDOUT | typeof STDERR) => demultiplex(output, stream).toString("utf8");
      return { code, stdout: text(STDOUT), stderr: text(STDERR) };
    } finally {
      await container.remove({ force: true });
    }
  };
}

const IPTABLES = ["iptables", "-w", "5"];

async function must(run: HostCommand, argv: string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(argv, input);
  if (code !== 0) fail("engine_unavailable", `${argv.join(" ")}: ${stderr.trim() || `exit code ${code}`}`);
  return stdout;
}

/** What the rules must know of the node. Asked for where they stand: a runner in a container sees Docker's own name server and its own networks. */
export async function nodeNetworks(
  run: HostCommand,
  network: EgressNetwork,
): Promise<Pick<FirewallPolicy, "resolvers" | "attached">> {
  const text = await must(run, ["cat", "/etc/resolv.conf", "/proc/net/route"]);
  return { resolvers: resolversOf(text), attached: attachedOf(text, network.bridge) };
}

/** DOCKER-USER is where Docker leaves room for rules of others; a daemon on nftables does not make it. */
async function forwardParent(run: HostCommand): Promise<string> {
  const { code } = await run([...IPTABLES, "-n", "-L", "DOCKER-USER"]);
  return code === 0 ? "DOCKER-USER" : "FORWARD";
}

/** Repeatable: the chains are replaced in one step, a jump is added only where it is missing. */
export async function installFirewall(run: HostCommand, network: EgressNetwork, policy: FirewallPolicy): Promise<void> {
  await must(run, ["iptables-restore", "-w", "5", "--noflush"], restoreInput(network, policy));
  for (const { chain, rule } of jumps(network, await forwardParent(run))) {
    const { code } = await run([...IPTABLES, "-C", chain, ...rule]);
    if (code !== 0) await must(run, [...IPTABLES, "-I", chain, "1", ...rule]);
  }
}

/** Somebody may have flushed the tables since: a host firewall that reloads does. */
export async function firewallStands(run: HostCommand, network: EgressNetwork): Promise<boolean> {
  for (const { chain, rule } of jumps(network, await forwardParent(run))) {
    if ((await run([...IPTABLES, "-C", chain, ...rule])).code !== 0) return false;
  }
  const { code, stdout } = await run([...IPTABLES, "-S", network.inputChain]);
  return code === 0 && stdout.includes("REJECT");
}

/** Takes out what `installFirewall` put in; what is not there is no error. */
export async function removeFirewall(run: HostCommand, network: EgressNetwork): Promise<void> {
  for (const { chain, rule } of jumps(network, await forwardParent(run))) {
    while ((await run([...IPTABLES, "-C", chain, ...rule])).code === 0)
      await must(run, [...IPTABLES, "-D", chain, ...rule]);
  }
  for (const chain of [network.forwardChain, network.inputChain]) {
    if ((await run([...IPTABLES, "-n", "-L", chain])).code !== 0) continue;
    await must(run, [...IPTABLES, "-F", chain]);
    await must(run, [...IPTABLES, "-X", chain]);
  }
}
