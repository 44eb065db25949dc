/** The doctor's table: everything fabric can use on a machine, the versions it needs, and how to get them. */

import { join } from "node:path";
import { ROOT } from "../../core/root.ts";
import { atLeast, type Check, missing, ok, type Probe, versionIn, versionOf, warning } from "./check.ts";

const GIB = 1024 ** 3;
/** Releases below these have known holes; bullmq below its floor stops for ever after a Redis outage. */
const PACKAGE_FLOORS: Record<string, string> = { hono: "4.13.5", bullmq: "6.3.3" };
const RUNC_FLOOR = "1.2.8";
const TOOLKIT_FLOOR = "1.17.8";
const BASE_IMAGE = "fabric/base";

const node: Check = {
  name: "Node",
  required: true,
  look: async ({ nodeVersion }) =>
    atLeast(nodeVersion, "20.19")
      ? ok(nodeVersion)
      : missing(nodeVersion, "fabric needs Node 20.19 or newer: https://nodejs.org"),
};

const redis: Check = {
  name: "Redis server",
  required: true,
  async look(probe) {
    if (probe.config.redisUrl) return ok("external, by FABRIC_REDIS_URL");
    const version = await versionOf(probe, "redis-server");
    const get = "apt-get install redis-server, brew install redis, or set FABRIC_REDIS_URL";
    if (!version) return missing("not installed", get);
    return atLeast(version, "6.2") ? ok(version) : missing(`${version} is too old (6.2 or newer)`, get);
  },
};

const engine: Check = {
  name: "an engine (Docker or Python)",
  required: true,
  async look(probe) {
    const docker = await daemonVersion(probe);
    const python = await findPython(probe);
    if (docker) return ok("docker");
    if (python) return warning("process: functions run without isolation", "start a Docker daemon for real containers");
    return missing(
      "neither a Docker daemon nor python3 3.9",
      "apt-get install docker.io, or python3 with python3-venv",
    );
  },
};

const dockerClient: Check = {
  name: "Docker client",
  required: false,
  async look(probe) {
    const version = await versionOf(probe, "docker");
    return version
      ? ok(version)
      : warning("not installed", "fabric speaks to the daemon itself; for your own use: apt-get install docker.io");
  },
};

const dockerDaemon: Check = {
  name: "Docker daemon",
  required: false,
  async look(probe) {
    const version = await daemonVersion(probe);
    return version
      ? ok(version)
      : warning("does not answer", "apt-get install docker.io, start dockerd; check DOCKER_HOST and the group docker");
  },
};

const runc: Check = {
  name: "runc",
  required: false,
  async look(probe) {
    const version = await versionOf(probe, "runc");
    if (!version) return warning("not found here", `make sure that the daemon's runc is ${RUNC_FLOOR} or newer`);
    return atLeast(version, RUNC_FLOOR)
      ? ok(version)
      : warning(
          `${version} lacks fixes for container escapes`,
          `get runc ${RUNC_FLOOR} or newer: Docker's own packages (docs.docker.com/engine/install) or your distribution's security updates`,
        );
  },
};

const baseImage: Check = {
  name: "base image",
  required: false,
  async look(probe) {
    if (!(await daemonVersion(probe))) return warning("no Docker daemon to hold one", "see Docker daemon");
    const list = await probe.run("docker", ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    if (list?.code !== 0)
      return warning("cannot be listed without the docker client", "it is made at the first deploy");
    const found = list.stdout.split("\n").filter((tag) => tag.includes(BASE_IMAGE));
    return found.length > 0
      ? ok(found.join(", "))
      : warning("not made yet", `the first deploy makes it; in advance: node ${ROOT}/dist/base-image.js 3.11`);
  },
};

const python: Check = {
  name: "Python",
  required: false,
  async look(probe) {
    const found = await findPython(probe);
    return found
      ? ok(found)
      : warning(
          "no python3 of 3.9 or newer",
          "`fabric run` needs it; `fabric deploy` then describes apps in a container",
        );
  },
};

const gpu: Check = {
  name: "GPU",
  required: false,
  async look(probe) {
    if (probe.config.gpus) return ok("declared by FABRIC_GPUS");
    const answer = await probe.run("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"]);
    return answer?.code === 0 && answer.stdout.trim() !== ""
      ? ok(answer.stdout.trim().split("\n").join(", "))
      : warning("none (nvidia-smi does not answer)", "functions with gpu=... need one; install NVIDIA's driver");
  },
};

const toolkit: Check = {
  name: "NVIDIA container toolkit",
  required: false,
  async look(probe) {
    const version = await versionOf(probe, "nvidia-ctk");
    const get = `functions with gpu=... in containers need ${TOOLKIT_FLOOR} or newer: apt-get install nvidia-container-toolkit`;
    if (!version) return warning("not installed", get);
    return atLeast(version, TOOLKIT_FLOOR)
      ? ok(version)
      : warning(`${version} lets containers escape (CVE-2025-23266)`, get);
  },
};

const caBundle: Check = {
  name: "CA bundle",
  required: false,
  async look({ config, exists }) {
    if (!config.caBundle) return ok("the images' own (behind a TLS proxy, set FABRIC_CA_BUNDLE)");
    return exists(config.caBundle)
      ? ok(config.caBundle)
      : missing(`${config.caBundle} does not exist`, "correct FABRIC_CA_BUNDLE; image builds would fail");
  },
};

const awsCli: Check = {
  name: "aws-cli",
  required: false,
  async look(probe) {
    const version = await versionOf(probe, "aws");
    const get = "pip install 'awscli>=1.29' (fabric works without; `fabric checkpoint pull` needs no aws-cli)";
    if (!version) return warning("not installed", get);
    return atLeast(version, version.startsWith("1.") ? "1.29" : "2.13")
      ? ok(version)
      : warning(`${version} does not know AWS_ENDPOINT_URL`, `give it --endpoint-url, or ${get}`);
  },
};

const dependencies: Check = {
  name: "fabric's dependencies",
  required: false,
  async look({ packageVersion }) {
    const holes = Object.entries(PACKAGE_FLOORS).flatMap(([name, floor]) => {
      const version = packageVersion(name);
      return version && !atLeast(version, floor) ? [`${name} ${version} (below ${floor})`] : [];
    });
    return holes.length === 0
      ? ok("no version with a known hole")
      : warning(`versions with known holes: ${holes.join(", ")}`, "npm ci");
  },
};

const disk: Check = {
  name: "free disk",
  required: false,
  async look({ config, freeBytes }) {
    const free = await freeBytes(config.dataDir);
    if (free === undefined) return warning("unknown", `look at the disk of ${config.dataDir}`);
    const found = `${(free / GIB).toFixed(1)} GiB beside ${config.dataDir}`;
    if (free < GIB) return missing(found, "free some, or choose another --data-dir");
    return free < 10 * GIB ? warning(found, "images and checkpoints need room; 10 GiB is a start") : ok(found);
  },
};

export const CHECKS: readonly Check[] = [
  node,
  redis,
  engine,
  dockerClient,
  dockerDaemon,
  runc,
  baseImage,
  python,
  gpu,
  toolkit,
  caBundle,
  awsCli,
  dependencies,
  disk,
];

async function daemonVersion(probe: Probe): Promise<string | undefined> {
  const answer = await probe.run("docker", ["version", "--format", "{{.Server.Version}}"]);
  return answer?.code === 0 ? versionIn(answer.stdout) : undefined;
}

async function findPython(probe: Probe): Promise<string | undefined> {
  const version = await versionOf(probe, "python3");
  return version && atLeast(version, "3.9") ? version : undefined;
}

/** Where a dependency's own version stands. */
export const packageFile = (root: string, name: string): string => join(root, "node_modules", name, "package.json");
