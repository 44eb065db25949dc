/** The user's own Python: found, checked for its version, and run with fabric's package on its path. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { fail } from "../../core/errors.ts";
import { PYTHON_SDK } from "../../core/root.ts";

export interface Python {
  command: string;
  /** "3.11". */
  minor: string;
}

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

const PASS_ON_MS = 200;
const CANDIDATES = ["python3", "python"];
const VERSION = "import sys; print('%d.%d' % sys.version_info[:2])";

export async function findPython(environment: NodeJS.ProcessEnv): Promise<Python | undefined> {
  for (const command of CANDIDATES) {
    const answer = await capture(command, ["-c", VERSION], environment);
    const minor = answer?.code === 0 ? answer.stdout.trim() : "";
    const [major = 0, second = 0] = minor.split(".").map(Number);
    if (major === 3 && second >= 9) return { command, minor };
  }
  return undefined;
}

/** The package of this CLI comes first, so that both speak the same version. */
export function pythonEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (!existsSync(PYTHON_SDK)) fail("internal", `fabric's Python package is missing at ${PYTHON_SDK}`);
  const path = [PYTHON_SDK, environment.PYTHONPATH].filter(Boolean).join(delimiter);
  return { ...environment, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: "1" };
}

/** `undefined`: no such program. */
export function capture(
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Ran | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    const output: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
    child.stdout.on("data", (chunk: Buffer) => output.stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => output.stderr.push(chunk));
    child.once("error", (error) => ("code" in error && error.code === "ENOENT" ? resolve(undefined) : reject(error)));
    child.once("close", (code) => {
      const [stdout, stderr] = [output.stdout, output.stderr].map((chunks) => Buffer.concat(chunks).toString("utf8"));
      resolve({ code: code ?? 1, stdout: stdout ?? "", stderr: stderr ?? "" });
    });
  });
}

/** Runs in our terminal; its exit code is the answer. */
export function inherit(
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environment, stdio: "inherit" });
    let passOn: NodeJS.Timeout | undefined;
    // Ctrl-C reaches the child from the terminal itself, and twice would interrupt how it ends; a signal to us alone does not
    const interrupt = (): void => {
      passOn = setTimeout(() => child.kill("SIGINT"), PASS_ON_MS);
    };
    signal.addEventListener("abort", interrupt, { once: true });
    child.once("error", reject);
    child.once("exit", (code, killedBy) => {
      clearTimeout(passOn);
      signal.removeEventListener("abort", interrupt);
      resolve(code ?? (killedBy === "SIGINT" ? 130 : 1));
    });
  });
}
