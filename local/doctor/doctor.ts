/** `fabric doctor`: asks all checks about this machine and says what is missing and how to get it. */

import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { ROOT } from "../../core/root.ts";
import { hasCode } from "../failure.ts";
import type { LocalContext } from "../output.ts";
import { type LocalOptions, localConfig, withOptions } from "../settings.ts";
import type { Check, Finding, Probe } from "./check.ts";
import { CHECKS, packageFile } from "./checks.ts";

export interface Examined extends Finding {
  name: string;
  required: boolean;
}

export const examine = (checks: readonly Check[], probe: Probe): Promise<Examined[]> =>
  Promise.all(
    checks.map(async (check) => ({ name: check.name, required: check.required, ...(await check.look(probe)) })),
  );

/** Nothing that is required is missing. */
export const isFit = (examined: readonly Examined[]): boolean =>
  examined.every(({ required, verdict }) => !required || verdict !== "missing");

export async function doctor(
  options: LocalOptions & { json?: boolean },
  { environment, output }: LocalContext,
): Promise<boolean> {
  const probe = machineProbe(withOptions(environment, options));
  const examined = await examine(CHECKS, probe);
  const fit = isFit(examined);
  if (options.json) {
    output.json({ fit, checks: examined });
    return fit;
  }
  const marks = { ok: "ok", warning: "--", missing: "!!" };
  for (const { name, verdict, found, get } of examined) {
    output.out(`${marks[verdict]}  ${name.padEnd(28)}  ${found}`);
    if (get) output.out(`    ${"".padEnd(28)}  -> ${get}`);
  }
  output.out(fit ? "fabric can run here." : "fabric cannot run here yet: see the lines marked !!");
  return fit;
}

const COMMAND_MS = 10_000;

function machineProbe(environment: NodeJS.ProcessEnv): Probe {
  return {
    config: localConfig(environment),
    nodeVersion: process.versions.node,
    platform: process.platform,
    exists: existsSync,
    run: (command, args) =>
      new Promise((resolve, reject) => {
        execFile(command, [...args], { env: environment, timeout: COMMAND_MS }, (error, stdout, stderr) => {
          if (!error) resolve({ code: 0, stdout, stderr });
          else if (hasCode(error, "ENOENT", "EACCES")) resolve(undefined);
          else if (typeof error.code === "number" || error.killed)
            resolve({ code: Number(error.code) || 1, stdout, stderr });
          else reject(error);
        });
      }),
    async freeBytes(path) {
      let folder = path;
      while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder);
      const facts = await statfs(folder);
      return facts.bavail * facts.bsize;
    },
    packageVersion(name) {
      const file = packageFile(ROOT, name);
      return existsSync(file) ? String(JSON.parse(readFileSync(file, "utf8")).version) : undefined;
    },
  };
}
