/** The bridge of a fabric's `egress` containers and the packet filter rules that keep them off host, node network and each other. */
import { createHash } from "node:crypto";
import { isIPv4 } from "node:net";
import { NOT_PUBLIC_V4 } from "../../core/not-public.ts";

export interface EgressNetwork {
  /** Docker's name of the network. */
  name: string;
  /** Interface name of its bridge on the host, 15 characters at most. */
  bridge: string;
  /** How the interface names of gangs' bridges begin. */
  gangBridges: string;
  forwardChain: string;
  inputChain: string;
}

export const NETWORK_PREFIX = "fabric-egress-";

const hashOf = (fabric: string): string => createHash("sha256").update(fabric).digest("hex");

export const gangBridges = (fabric: string): string => `fg${hashOf(fabric).slice(0, 6)}-`;

export function egressNetwork(fabric: string): EgressNetwork {
  const short = hashOf(fabric).slice(0, 10);
  return {
    name: `${NETWORK_PREFIX}${short}`,
    bridge: `fab-${short}`,
    gangBridges: gangBridges(fabric),
    forwardChain: `FABRIC-FWD-${short}`,
    inputChain: `FABRIC-IN-${short}`,
  };
}

/** The IPv4 name servers of a resolv.conf; Docker asks those on loopback itself, from the host. */
export function resolversOf(resolvConf: string): string[] {
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]!);
  return [...new Set(servers)].filter((address) => isIPv4(address) && !address.startsWith("127."));
}

const addressOf = (hex: string): string => Buffer.from(hex, "hex").reverse().join(".");
const prefixOf = (hex: string): number => [...Number.parseInt(hex, 16).toString(2)].filter((bit) => bit === "1").length;

/** The networks that lines of /proc/net/route reach without a gateway, our own bridge aside. */
export function attachedOf(routes: string, bridge: string): string[] {
  const found = [...routes.matchAll(/^(\S+)\t([0-9A-F]{8})\t0{8}\t\w+\t\d+\t\d+\t\d+\t([0-9A-F]{8})/gm)]
    .filter(([, device, , mask]) => device !== bridge && mask !== "00000000")
    .map(([, , network, mask]) => `${addressOf(network!)}/${prefixOf(mask!)}`);
  return [...new Set(found)].sort();
}

export interface FirewallPolicy {
  resolvers: string[];
  /** CIDR ranges the operator opens although they are private. */
  allow: string[];
  /** Networks the node is attached to: denied also where their addresses are public ones. */
  attached: string[];
}

const RESOLVER_PROTOCOLS = ["udp", "tcp"];

/** The bodies of the two chains, each rule as iptables arguments after `-A CHAIN`. */
export function chainRules(policy: FirewallPolicy): { forward: string[][]; input: string[][] } {
  const established = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "RETURN"];
  const dns = policy.resolvers.flatMap((address) =>
    RESOLVER_PROTOCOLS.map((protocol) => ["-d", `${address}/32`, "-p", protocol, "--dport", "53", "-j", "RETURN"]),
  );
  const reject = ["-j", "REJECT", "--reject-with", "icmp-admin-prohibited"];
  return {
    forward: [
      established,
      ...dns,
      ...policy.allow.map((range) => ["-d", range, "-j", "RETURN"]),
      ...[...NOT_PUBLIC_V4, ...policy.attached].map((range) => ["-d", range, ...reject]),
    ],
    // A packet that arrives here is for the host itself, by whatever address.
    input: [established, ...dns, reject],
  };
}

/** The rules as input of `iptables-restore --noflush`: naming a chain empties it, and all lines take effect together. */
export function restoreInput(network: EgressNetwork, policy: FirewallPolicy): string {
  const rules = chainRules(policy);
  return [
    "*filter",
    `:${network.forwardChain} - [0:0]`,
    `:${network.inputChain} - [0:0]`,
    ...rules.forward.map((rule) => `-A ${network.forwardChain} ${rule.join(" ")}`),
    ...rules.input.map((rule) => `-A ${network.inputChain} ${rule.join(" ")}`),
    "COMMIT",
    "",
  ].join("\n");
}

/** Jumps into the chains: looked for with -C, inserted first with -I, removed with -D. */
export function jumps(network: EgressNetwork, forwardParent: string): { chain: string; rule: string[] }[] {
  return [
    { chain: forwardParent, rule: ["-i", network.bridge, "-j", network.forwardChain] },
    { chain: "INPUT", rule: ["-i", network.bridge, "-j", network.inputChain] },
    // Docker keeps an internal network from everything but the host.
    { chain: "INPUT", rule: ["-i", `${network.gangBridges}+`, "-j", network.inputChain] },
  ];
}
