/** What a function container cannot do: more memory than its limit, capabilities, the host, its network, other containers. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { dockerClient } from "../../core/docker-client.ts";
import type { ContainerEngine, ContainerSpec } from "../../core/engine.ts";
import { newId } from "../../core/ids.ts";
import { runCommand } from "../../core/run-command.ts";
import type { ImageSpec } from "../../core/spec.ts";
import { dockerImageBuilder } from "../../gateway/build/docker-builder.ts";
import { type DockerEngineOptions, dockerEngine, removeDockerTraces } from "../../runner/engine/docker.ts";
import { egressNetwork } from "../../runner/engine/docker-network.ts";
import {
  firewallStands,
  helperCommand,
  installFirewall,
  localCommand,
  nodeNetworks,
  removeFirewall,
} from "../../runner/engine/firewall.ts";
import { baseImageForTests, builderOptionsForTests, testIdentity, whyNoDocker } from "./fixture.ts";

const reason = await whyNoDocker();

/** Tries addresses given as arguments, each for two seconds, and prints what came of it. */
const CONNECT = `
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(':', 1)
    try:
        socket.create_connection((host, int(port)), 2).close(); print(target, 'open')
    except OSError as error: print(target, 'closed')
`;

describe.skipIf(reason)("docker engine isolates", () => {
  const options: DockerEngineOptions = testIdentity();
  const root = mkdtempSync(join(tmpdir(), "isolation-"));
  const started: string[] = [];
  let engine: ContainerEngine;
  let image: string;
  let notices: string[];

  beforeAll(async () => {
    image = await baseImageForTests();
    engine = dockerEngine(options);
    ({ notices } = await engine.prepare());
  });
  afterEach(async () => {
    for (const id of started.splice(0)) await engine.remove(id);
  });
  afterAll(async () => {
    await removeDockerTraces(options);
    rmSync(root, { recursive: true, force: true });
  });

  async function start(command: string[], more: Partial<ContainerSpec> = {}): Promise<ContainerSpec> {
    const id = newId("con");
    const folder = (part: string) => {
      mkdirSync(join(root, id, part), { recursive: true });
      return join(root, id, part);
    };
    const spec: ContainerSpec = {
      id,
      labels: {},
      image,
      command,
      env: {},
      socketDir: folder("socket"),
      bundleDir: folder("bundle"),
      sdkDir: folder("sdk"),
      scratchDir: folder("scratch"),
      network: "none",
      gpus: [],
      ...more,
    };
    started.push(id);
    await engine.start(spec);
    return spec;
  }

  async function run(code: string, args: string[] = [], more: Partial<ContainerSpec> = {}) {
    const { id } = await start(["python", "-c", code, ...args], more);
    const exit = await engine.wait(id);
    return { exit, output: await engine.tail(id, 20_000) };
  }

  test("memory over the limit is out of memory", async () => {
    const { exit } = await run("x = b'x' * (256 * 1024 * 1024)", [], { memoryLimitBytes: 64 * 1024 * 1024 });
    expect(exit).toEqual({ code: 137, outOfMemory: true });
  });

  test("a child killed for memory is not the end of its parent", async () => {
    const { exit, output } = await run(
      "import subprocess,sys\nprint(subprocess.run([sys.executable, '-c', \"x = b'x' * (256 * 1024 * 1024)\"]).returncode)",
      [],
      { memoryLimitBytes: 64 * 1024 * 1024 },
    );
    expect(output).toBe("-9\n");
    expect(exit).toEqual({ code: 0, outOfMemory: false });
  });

  test("runs as nobody in particular, without capabilities or new privileges", async () => {
    const { output } = await run(
      "import os\nstatus = dict(line.split(':', 1) for line in open('/proc/self/status'))\nprint(os.getuid(), os.getgid(), status['CapEff'].strip(), status['CapBnd'].strip(), status['NoNewPrivs'].strip(), status['Seccomp'].strip())",
    );
    expect(output).toBe("10001 10001 0000000000000000 0000000000000000 1 2\n");
  });

  test("a cpu limit and the parent cgroup are set", async () => {
    const docker = await dockerClient()();
    const { id } = await start(["python", "-c", "import time; time.sleep(600)"], { cpuLimit: 0.5 });
    const { HostConfig } = await docker.getContainer(id).inspect();
    expect(HostConfig.NanoCpus).toBe(5e8);
    const parentNotice = notices.find((notice) => notice.startsWith("No parent cgroup"));
    if (parentNotice) console.warn(`SKIPPED: ${parentNotice}`);
    else expect(HostConfig.CgroupParent).toMatch(/^\/?fabric-/);
  });

  test("network none has only loopback", async () => {
    const { output } = await run("import socket; print([name for _, name in socket.if_nameindex()])");
    expect(output).toBe("['lo']\n");
  });

  test("egress reaches public names, but neither host, nor metadata, nor private ranges, nor other containers", async () => {
    const server = createServer((_request, response) => response.end("host"));
    await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
    const { port } = server.address() as AddressInfo;
    const docker = await dockerClient()();
    const network = egressNetwork(options.fabric);
    const { IPAM } = await docker.getNetwork(network.name).inspect();
    const gateway = IPAM!.Config![0]!.Gateway as string;
    const hostAddresses = Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address),
    );
    const other = await start(["python", "-m", "http.server", "8000"], { network: "egress" });
    const inspected = await docker.getContainer(other.id).inspect();
    const neighbour = inspected.NetworkSettings.Networks[network.name]!.IPAddress;
    const targets = [...new Set([gateway, ...hostAddresses])].map((address) => `${address}:${port}`);
    targets.push("169.254.169.254:80", "10.0.0.1:80", "192.168.0.1:80", `${neighbour}:8000`);
    const { output } = await run(CONNECT, targets, { network: "egress" });
    server.close();
    expect(output.trim().split("\n")).toEqual(targets.map((target) => `${target} closed`));
  });

  test("a gang with network none reaches its own containers, but neither host, nor names; nobody else reaches it", async () => {
    const server = createServer((_request, response) => response.end("host"));
    await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
    const { port } = server.address() as AddressInfo;
    const gang = newId("gng");
    const first = await start(["python", "-m", "http.server", "8000"], { gang });
    const address = await engine.addressOf(first.id);
    const gateway = address.replace(/\d+$/, "1");
    const targets = [`${address}:8000`, `${gateway}:${port}`, "169.254.169.254:80", "deb.debian.org:80"];
    await expect
      .poll(async () => (await run(CONNECT, [targets[0]!], { gang })).output, { timeout: 20_000 })
      .toContain("open");
    const { output } = await run(CONNECT, targets, { gang });
    expect(output.trim().split("\n")).toEqual(targets.map((target, i) => `${target} ${i === 0 ? "open" : "closed"}`));
    const strangers = [{ gang: newId("gng") }, { network: "egress" as const }, {}];
    const answers = await Promise.all(strangers.map((stranger) => run(CONNECT, [targets[0]!], stranger)));
    for (const answer of answers) expect(answer.output).toBe(`${targets[0]} closed\n`);
    server.close();
    for (const id of started.splice(0)) await engine.remove(id);
    await engine.endGang();
    const docker = await dockerClient()();
    const left = await docker.listNetworks({ filters: { label: [`fabric.id=${options.fabric}`, "fabric.gang"] } });
    expect(left).toEqual([]);
  });

  test("egress resolves names and reaches a public address", async (context) => {
    const target = "deb.debian.org:80";
    const here = await runCommand("python3", ["-c", CONNECT, target]);
    if (!here.stdout.includes("open")) context.skip(`${target} cannot be reached from this machine`);
    const { output } = await run(CONNECT, [target], { network: "egress" });
    expect(output).toBe(`${target} open\n`);
  });

  test("egress has no IPv6 way out", async () => {
    const { output } = await run(
      "print([line.split()[-1] for line in open('/proc/net/if_inet6')] if __import__('os').path.exists('/proc/net/if_inet6') else [])",
      [],
      { network: "egress" },
    );
    expect(output).toMatch(/^\[('lo')?\]\n$/);
  });

  test("closing gives the network back unless containers are on it, and the next start makes it again", async () => {
    const docker = await dockerClient()();
    const { name } = egressNetwork(options.fabric);
    const there = async () => (await docker.listNetworks({ filters: { name: [name] } })).length;
    const { id } = await start(["python", "-c", "import time; time.sleep(600)"], { network: "egress" });
    const other = dockerEngine(options);
    await other.prepare();
    await other.close();
    expect(await there()).toBe(1);
    await engine.remove(id);
    await other.prepare();
    await other.close();
    expect(await there()).toBe(0);
    expect((await run("pass", [], { network: "egress" })).exit?.code).toBe(0);
    expect(await there()).toBe(1);
  });

  test("preparing again changes nothing, and flushed rules come back", async () => {
    const network = egressNetwork(options.fabric);
    const rules = async () => {
      const { stdout } = await runCommand("iptables-save", ["-t", "filter"], {
        extraEnv: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" },
      });
      return stdout.split("\n").filter((line) => line.startsWith("-A") && line.includes(network.bridge.slice(4)));
    };
    const before = await rules();
    expect(before.length).toBeGreaterThan(10);
    await dockerEngine(options).prepare();
    expect(await rules()).toEqual(before);
    await runCommand("iptables", ["-F", network.inputChain], { extraEnv: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" } });
    await dockerEngine(options).prepare();
    expect(await rules()).toEqual(before);
  });

  test("a runner that is not in the host's network sets the rules through a helper container", async () => {
    const builder = dockerImageBuilder(builderOptionsForTests());
    const spec: ImageSpec = { python: "3.11", layers: [{ kind: "apt", packages: ["iptables"] }] };
    const { ref } = await builder.build(spec, () => {}, new AbortController().signal);
    const docker = await dockerClient()();
    const network = {
      name: "",
      bridge: "fab-helper",
      gangBridges: "fghelper-",
      forwardChain: "FABRIC-FWD-helper",
      inputChain: "FABRIC-IN-helper",
    };
    const run = helperCommand(docker, ref);
    expect(await nodeNetworks(run, network)).toEqual(await nodeNetworks(localCommand, network));
    await installFirewall(run, network, { resolvers: ["9.9.9.9"], allow: ["10.1.0.0/16"], attached: [] });
    try {
      expect(await firewallStands(run, network)).toBe(true);
      const { stdout } = await localCommand(["iptables", "-S", network.forwardChain]);
      expect(stdout).toContain("-d 9.9.9.9/32 -p udp -m udp --dport 53 -j RETURN");
      expect(stdout.indexOf("10.1.0.0/16")).toBeLessThan(stdout.indexOf("10.0.0.0/8"));
    } finally {
      await removeFirewall(run, network);
    }
    expect(await firewallStands(localCommand, network)).toBe(false);
  });

  test("a GPU nobody has is a failed start that leaves nothing", async () => {
    await expect(start(["python", "-V"], { gpus: ["GPU-00000000-0000-0000-0000-000000000000"] })).rejects.toMatchObject(
      {
        code: "container_start_failed",
      },
    );
    expect(await engine.list({})).toEqual([]);
  });
});

describe("without a daemon", () => {
  test("prepare says so with its code", async () => {
    const engine = dockerEngine({ ...testIdentity(), dockerHost: "unix:///nowhere/docker.sock" });
    await expect(engine.prepare()).rejects.toMatchObject({ code: "engine_unavailable" });
  });
});
