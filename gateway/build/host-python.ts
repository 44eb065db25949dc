/** Finds an interpreter of a Python version on this machine by running candidates: a shim of that name may run another one, or none. */
import { fail } from "../../core/errors.ts";
import { runCommand } from "../../core/run-command.ts";

export interface HostPython {
  path: string;
  /** Full version; part of an environment's identity. */
  version: string;
}

const ASK = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable, sys.version.split()[0], sep='\\n')";

/** Names to try, in this order. */
export const candidates = (python: string): string[] => [
  `python${python}`,
  "python3",
  "python",
  `/usr/bin/python${python}`,
  `/usr/local/bin/python${python}`,
  "/usr/bin/python3",
];

export async function hostPython(python: string, extra: string[] = []): Promise<HostPython> {
  const found: string[] = [];
  for (const name of [...extra, ...candidates(python)]) {
    const { code, stdout } = await runCommand(name, ["-c", ASK]);
    if (code !== 0) continue;
    const [minor, path, version] = stdout.trim().split("\n");
    if (minor === python && path && version) return { path, version };
    if (minor) found.push(minor);
  }
  const there = [...new Set(found)].join(", ") || "none";
  return fail(
    "image_python_unavailable",
    `This machine has no Python ${python} (found: ${there}). Install it, or use the docker engine.`,
  );
}
