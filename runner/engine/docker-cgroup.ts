/** One parent cgroup for all function containers of a fabric, so that they cannot take the node's own reserve. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rmdir, writeFile } from "node:fs/promises";
import { runCommand } from "../../core/run-command.ts";

const ROOT = "/sys/fs/cgroup";
const PERIOD_US = 100_000;

export interface CgroupHost {
  /** As `docker info` says: "1" or "2", and "cgroupfs" or "systemd". */
  version: string;
  driver: string;
}

export interface CgroupLimits {
  memoryBytes: number;
  cpus: number;
}

export interface NodeSize {
  memoryBytes: number;
  cpus: number;
}

/** What is kept back for the kernel, Docker, Redis and fabric itself where the operator says nothing. */
export function defaultReserve(node: NodeSize): CgroupLimits {
  const MiB = 1024 * 1024;
  return {
    memoryBytes: Math.min(4096 * MiB, Math.max(512 * MiB, Math.round(node.memoryBytes * 0.1))),
    cpus: Math.min(1, Math.max(0.1, node.cpus * 0.05)),
  };
}

export const limitsOf = (node: NodeSize, reserve: CgroupLimits): CgroupLimits => ({
  memoryBytes: Math.max(node.memoryBytes - reserve.memoryBytes, 64 * 1024 * 1024),
  cpus: Math.max(node.cpus - reserve.cpus, 0.1),
});

const shortName = (fabric: string) => createHash("sha256").update(fabric).digest("hex").slice(0, 10);

/** The value of Docker's CgroupParent: a path for cgroupfs, a slice for systemd. */
export const cgroupName = (fabric: string, host: CgroupHost): string =>
  host.driver === "systemd" ? `fabric-${shortName(fabric)}.slice` : `/fabric-${shortName(fabric)}`;

/** Every file to write, in order. Swap is bounded per container; the parent needs no limit of its own for it. */
export function cgroupWrites(name: string, version: string, limits: CgroupLimits): { file: string; text: string }[] {
  const quota = Math.round(limits.cpus * PERIOD_US);
  if (version === "2") {
    return [
      { file: `${ROOT}${name}/memory.max`, text: String(limits.memoryBytes) },
      { file: `${ROOT}${name}/cpu.max`, text: `${quota} ${PERIOD_US}` },
    ];
  }
  return [
    { file: `${ROOT}/memory${name}/memory.limit_in_bytes`, text: String(limits.memoryBytes) },
    { file: `${ROOT}/cpu${name}/cpu.cfs_period_us`, text: String(PERIOD_US) },
    { file: `${ROOT}/cpu${name}/cpu.cfs_quota_us`, text: String(quota) },
  ];
}

const folders = (name: string, version: string): string[] =>
  version === "2" ? [`${ROOT}${name}`] : [`${ROOT}/memory${name}`, `${ROOT}/cpu${name}`];

/** Makes the parent and sets its limits; throws a plain error that says why it cannot. */
export async function makeCgroup(fabric: string, host: CgroupHost, limits: CgroupLimits): Promise<string> {
  const name = cgroupName(fabric, host);
  if (host.driver === "systemd") {
    const { code, stderr } = await runCommand("systemctl", [
      "set-property",
      "--runtime",
      name,
      `MemoryMax=${limits.memoryBytes}`,
      `CPUQuota=${Math.round(limits.cpus * 100)}%`,
    ]);
    if (code !== 0) throw new Error(`systemctl set-property ${name}: ${stderr.trim() || `exit code ${code}`}`);
    return name;
  }
  if (host.version === "2") await writeFile(`${ROOT}/cgroup.subtree_control`, "+cpu +memory +pids");
  for (const folder of folders(name, host.version)) await mkdir(folder, { recursive: true });
  for (const { file, text } of cgroupWrites(name, host.version, limits)) await writeFile(file, text);
  return name;
}

/** Removes the parent unless another node's containers are in it; runc made it in every hierarchy of cgroup v1, not only in ours. */
export async function removeCgroup(fabric: string, host: CgroupHost): Promise<void> {
  if (host.driver === "systemd") return;
  const name = cgroupName(fabric, host);
  const hierarchies = host.version === "2" ? [""] : (await readdir(ROOT)).map((controller) => `/${controller}`);
  for (const hierarchy of hierarchies) {
    const folder = `${ROOT}${hierarchy}${name}`;
    if (existsSync(folder))
      await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EBUSY" && error.code !== "ENOENT") throw error;
      });
  }
}
