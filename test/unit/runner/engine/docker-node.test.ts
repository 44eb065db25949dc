/** Pure parts of preparing a node: egress rules and the parent cgroup's limits. */
import { describe, expect, test } from "vitest";
import { cgroupName, cgroupWrites, defaultReserve, limitsOf } from "../../../../runner/engine/docker-cgroup.ts";
import {
  attachedOf,
  chainRules,
  egressNetwork,
  resolversOf,
  restoreInput,
} from "../../../../runner/engine/docker-network.ts";

const GiB = 1024 ** 3;

describe("egress rules", () => {
  const policy = { resolvers: ["10.0.0.53"], allow: ["10.1.0.0/16"], attached: ["198.51.100.7/24"] };

  test("names fit the kernel's limits", () => {
    const network = egressNetwork("fab_01m85bxmmanhf9ah6j1pj4mk4h");
    expect(network.bridge.length).toBeLessThanOrEqual(15);
    expect(network.forwardChain.length).toBeLessThanOrEqual(28);
    // With six more letters for each gang.
    expect(network.gangBridges.length).toBeLessThanOrEqual(9);
    expect(egressNetwork("another").gangBridges).not.toBe(network.gangBridges);
    expect(egressNetwork("another").bridge).not.toBe(network.bridge);
  });

  test("answers, name servers and allowed ranges come before what is denied", () => {
    const { forward, input } = chainRules(policy);
    const verdicts = forward.map((rule) => rule.join(" "));
    const firstReject = verdicts.findIndex((rule) => rule.includes("REJECT"));
    expect(verdicts.slice(0, firstReject).join("\n")).toMatch(
      /ESTABLISHED[\s\S]*10\.0\.0\.53\/32[\s\S]*10\.1\.0\.0\/16/,
    );
    expect(verdicts.slice(firstReject).every((rule) => rule.includes("REJECT"))).toBe(true);
    expect(verdicts.some((rule) => rule.includes("169.254.0.0/16") && rule.includes("REJECT"))).toBe(true);
    expect(verdicts.some((rule) => rule.includes("198.51.100.7/24") && rule.includes("REJECT"))).toBe(true);
    expect(input.at(-1)?.join(" ")).toBe("-j REJECT --reject-with icmp-admin-prohibited");
  });

  test("restoring replaces both chains and touches no other", () => {
    const network = egressNetwork("fab_1");
    const lines = restoreInput(network, policy).trim().split("\n");
    expect(lines[0]).toBe("*filter");
    expect(lines.at(-1)).toBe("COMMIT");
    const chains = lines.slice(1, -1).map((line) => line.split(" ")[line.startsWith(":") ? 0 : 1]!.replace(":", ""));
    expect(new Set(chains)).toEqual(new Set([network.forwardChain, network.inputChain]));
  });

  test("resolvers are the IPv4 ones that are not loopback", () => {
    expect(
      resolversOf(
        "# x\nnameserver 10.0.0.53\nnameserver 127.0.0.53\nnameserver fd00::1\noptions a\n nameserver 1.1.1.1\nnameserver 10.0.0.53",
      ),
    ).toEqual(["10.0.0.53", "1.1.1.1"]);
  });

  test("attached networks are those that the kernel reaches without a gateway, our own bridge aside", () => {
    const routes = [
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   ",
      "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0   ",
      "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0   ",
      "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0   ",
      "eth1\t8071A8C0\t00000000\t0001\t0\t0\t100\t80FFFFFF\t0\t0\t0   ",
      "fab-1\t000014AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0   ",
    ].join("\n");
    expect(attachedOf(routes, "fab-1")).toEqual(["192.0.2.0/24", "192.168.113.128/25"]);
  });
});

describe("parent cgroup", () => {
  test("leaves a reserve that grows with the node, within bounds", () => {
    expect(defaultReserve({ memoryBytes: 2 * GiB, cpus: 1 })).toEqual({ memoryBytes: 0.5 * GiB, cpus: 0.1 });
    expect(defaultReserve({ memoryBytes: 512 * GiB, cpus: 64 })).toEqual({ memoryBytes: 4 * GiB, cpus: 1 });
    expect(limitsOf({ memoryBytes: 2 * GiB, cpus: 1 }, { memoryBytes: 4 * GiB, cpus: 4 })).toEqual({
      memoryBytes: 64 * 1024 ** 2,
      cpus: 0.1,
    });
  });

  test("writes what each cgroup version understands", () => {
    const limits = { memoryBytes: GiB, cpus: 1.5 };
    expect(cgroupWrites("/fabric-1", "2", limits)).toEqual([
      { file: "/sys/fs/cgroup/fabric-1/memory.max", text: String(GiB) },
      { file: "/sys/fs/cgroup/fabric-1/cpu.max", text: "150000 100000" },
    ]);
    expect(cgroupWrites("/fabric-1", "1", limits).map(({ file }) => file)).toContain(
      "/sys/fs/cgroup/memory/fabric-1/memory.limit_in_bytes",
    );
    expect(cgroupName("fab_1", { version: "2", driver: "systemd" })).toMatch(/^fabric-[0-9a-f]{10}\.slice$/);
    expect(cgroupName("fab_1", { version: "2", driver: "cgroupfs" })).toMatch(/^\/fabric-[0-9a-f]{10}$/);
  });
});
