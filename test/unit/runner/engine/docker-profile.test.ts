/** What Docker is asked for, as values. */
import { describe, expect, test } from "vitest";
import type { ContainerSpec } from "../../../../core/engine.ts";
import { demultiplex, lastBytes } from "../../../../runner/engine/docker-logs.ts";
import { createRequest } from "../../../../runner/engine/docker-profile.ts";
import { dockerNotices, isOlder } from "../../../../runner/engine/docker-report.ts";

const spec: ContainerSpec = {
  id: "con_x",
  labels: { "fabric.container": "x", "fabric.id": "somebody-else" },
  image: "sha256:abc",
  command: ["python", "-m", "fabric_sdk._shim"],
  env: { A: "1", HOME: "/elsewhere" },
  socketDir: "/h/socket",
  bundleDir: "/h/bundle",
  sdkDir: "/h/sdk",
  scratchDir: "/h/scratch",
  network: "none",
  gpus: [],
};
const profile = {
  fabric: "fab_1",
  node: "nod_1",
  uid: 10001,
  gid: 10001,
  pidsLimit: 4096,
  shmBytes: 1,
  egressNetwork: "fabric-egress-1",
};

describe("createRequest", () => {
  test("takes every privilege away", () => {
    const { HostConfig, User } = createRequest(spec, profile);
    expect(User).toBe("10001:10001");
    expect(HostConfig).toMatchObject({
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      NetworkMode: "none",
    });
    expect(HostConfig?.Privileged).toBeUndefined();
    expect(HostConfig?.Binds?.filter((bind) => bind.endsWith(":rw"))).toEqual([
      "/h/scratch:/scratch:rw",
      "/h/scratch:/tmp:rw",
    ]);
  });

  test("of a gang a container without a network has its bridge alone, where names are not looked up for long", () => {
    const ofGang = { ...spec, gang: "gng_1", shmBytes: 1024 };
    expect(createRequest(ofGang, profile).HostConfig).toMatchObject({
      NetworkMode: "fabric-gng_1",
      Dns: ["127.0.0.1"],
      DnsOptions: ["timeout:1", "attempts:1"],
      ShmSize: 1024,
    });
    const { HostConfig } = createRequest({ ...ofGang, network: "egress" }, profile);
    expect(HostConfig).toMatchObject({ NetworkMode: "fabric-egress-1" });
    expect(HostConfig).not.toHaveProperty("Dns");
  });

  test("our labels win over the spec's, the spec's variables over our defaults", () => {
    const { Labels, Env } = createRequest(spec, profile);
    expect(Labels).toEqual({ "fabric.container": "x", "fabric.id": "fab_1", "fabric.node": "nod_1" });
    expect(Env).toContain("HOME=/elsewhere");
    expect(Env?.filter((entry) => entry.startsWith("HOME="))).toHaveLength(1);
  });

  test("limits, GPUs, runtime and parent only where given", () => {
    expect(createRequest(spec, profile).HostConfig).not.toHaveProperty("Memory");
    const { HostConfig } = createRequest(
      { ...spec, memoryLimitBytes: 1e8, cpuLimit: 1.5, gpus: ["GPU-a", "GPU-b"], network: "egress" },
      { ...profile, runtime: "runsc", cgroupParent: "/fabric-1" },
    );
    expect(HostConfig).toMatchObject({
      Memory: 1e8,
      MemorySwap: 1e8,
      NanoCpus: 1.5e9,
      Runtime: "runsc",
      CgroupParent: "/fabric-1",
      NetworkMode: "fabric-egress-1",
      DeviceRequests: [{ Driver: "", DeviceIDs: ["GPU-a", "GPU-b"], Capabilities: [["gpu"]] }],
    });
  });
});

describe("docker logs", () => {
  const frame = (stream: number, text: string) => {
    const bytes = Buffer.from(text);
    const header = Buffer.alloc(8);
    header[0] = stream;
    header.writeUInt32BE(bytes.length, 4);
    return Buffer.concat([header, bytes]);
  };

  test("both streams in order, a cut frame as far as it goes", () => {
    const whole = Buffer.concat([frame(1, "out\n"), frame(2, "err\n"), frame(1, "ü")]);
    expect(demultiplex(whole).toString()).toBe("out\nerr\nü");
    expect(demultiplex(whole.subarray(0, whole.length - 2)).toString()).toBe("out\nerr\n");
  });

  test("the last bytes do not begin in the middle of a character", () => {
    expect(lastBytes(Buffer.from("aüb"), 2)).toBe("b");
    expect(lastBytes(Buffer.from("aüb"), 3)).toBe("üb");
    expect(lastBytes(Buffer.from("aüb"), 99)).toBe("aüb");
  });
});

describe("notices", () => {
  const facts = {
    version: "28",
    components: [{ name: "runc", version: "1.2.8" }],
    securityOptions: ["name=seccomp,profile=default"],
    memoryLimit: true,
    swapLimit: true,
    runtimes: ["runc"],
  };

  test("nothing to say about a sound daemon", () => expect(dockerNotices(facts, undefined)).toEqual([]));
  test("old runc, no seccomp, no memory cgroup, unknown runtime", () => {
    const worst = {
      ...facts,
      components: [{ name: "runc", version: "1.1.5+ds1" }],
      securityOptions: [],
      memoryLimit: false,
    };
    expect(dockerNotices(worst, "runsc")).toHaveLength(4);
  });
  test.each([
    ["1.1.5+ds1-1", "1.2.8", true],
    ["1.2.8", "1.2.8", false],
    ["1.10.0", "1.2.8", false],
    ["v2", "1.2.8", false],
  ])("%s older than %s: %s", (version, floor, older) => expect(isOlder(version, floor)).toBe(older));
});
