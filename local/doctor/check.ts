/** One thing the doctor looks at: what it asks of the machine and how it judges the answer. */
import type { Config } from "../../core/config.ts";

/** What checks may ask; tests answer in the machine's place. */
export interface Probe {
  config: Config;
  nodeVersion: string;
  platform: NodeJS.Platform;
  /** `undefined`: no such program. */
  run(command: string, args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string } | undefined>;
  exists(path: string): boolean;
  /** Free bytes of the disk a folder lies on (or would lie on). */
  freeBytes(path: string): Promise<number | undefined>;
  /** The version of one of fabric's own dependencies. */
  packageVersion(name: string): string | undefined;
}

export type Verdict = "ok" | "warning" | "missing";

export interface Finding {
  verdict: Verdict;
  found: string;
  /** How to get it, or what to do; for everything but ok. */
  get?: string;
}

export interface Check {
  name: string;
  /** Without it `fabric up` cannot work here: `fabric doctor` exits 1. */
  required: boolean;
  look(probe: Probe): Promise<Finding>;
}

export const ok = (found: string): Finding => ({ verdict: "ok", found });
export const warning = (found: string, get: string): Finding => ({ verdict: "warning", found, get });
export const missing = (found: string, get: string): Finding => ({ verdict: "missing", found, get });

/** The first version number in a program's answer. */
export const versionIn = (text: string): string | undefined => /\d+(?:\.\d+)+/.exec(text)?.[0];

export function atLeast(version: string, floor: string): boolean {
  const have = version.split(".").map(Number);
  const need = floor.split(".").map(Number);
  for (const [index, part] of need.entries()) {
    const difference = (have[index] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** `command args` answers with its version on stdout or stderr. */
export async function versionOf(
  probe: Probe,
  command: string,
  args: readonly string[] = ["--version"],
): Promise<string | undefined> {
  const answer = await probe.run(command, args);
  return answer?.code === 0 ? versionIn(answer.stdout || answer.stderr) : undefined;
}
