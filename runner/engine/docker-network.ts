/** The bridge of a fabric's `egress` containers and the packet filter rules that keep them off host, node network and each other. */
import { createHash } from "node:crypto";
import { isIPv4 } from "node:net";

export interface EgressNetwork {
  /** Docker's name of the network. */
  name: string;
  /** Interface name of its bridge on the host, 15 characters at most. */
  bridge: string;
  forwardChain: string;
  inputChain: string;
}

export const NETWORK_PREFIX = "fabric-egress-";

export function egressNetwork(fabric: string): EgressNetwork {
  const short = createHash("sha256").update(fabric).digest("hex").slice(0, 10);
  return {
    name: `${NETWORK_PREFIX}${short}`,
    bridge: `fab-${short}`,
    forwardChain: `FABRIC-FWD-${short}`,
    inputChain: `FABRIC-IN-${short}`,
  };
}

/** Ranges that are never the public internet: own host, private, link-local with cloud metadata, carrier NAT, benchmarks, multicast. */
export const DENIED_RANGES = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/3",
];

/** The IPv4 name servers of a resolv.conf; Docker asks those on loopback itself, from the host. */
export function resolversOf(resolvConf: string): string[] {
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]!);
  return [...new Set(servers)].filter((address) => isIPv4(address) && !address.startsWith("127."));
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
      ...[...DENIED_RANGES, ...policy.attached].map((range) => ["-d", range, ...reject]),
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
  ];
}
