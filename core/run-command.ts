/** One child process, run to its end with its output kept; arguments are a vector, no shell reads them. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface CommandResult {
  /** 128 + n when signal n ended it; 127 when there is no such program. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  input?: string;
  cwd?: string;
  /** Replaces the environment of this process. */
  env?: Record<string, string>;
  /** Added to the environment of this process. */
  extraEnv?: Record<string, string>;
  /** Ends the child, its own children too. */
  signal?: AbortSignal;
  /** Each line of stdout and stderr, as it comes. */
  onLine?: (line: string) => void;
  /** What is kept of either stream: its last characters. */
  maxChars?: number;
}

const SIGNALS: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

export function runCommand(command: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { signal, input, cwd, onLine } = options;
  signal?.throwIfAborted();
  const maxChars = options.maxChars ?? 4 * 1024 * 1024;
  const env = options.extraEnv ? { ...process.env, ...options.extraEnv } : (options.env ?? process.env);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const kept = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8");
      child[name].on("data", (text: string) => {
        kept[name] = (kept[name] + text).slice(-maxChars);
      });
      if (onLine) createInterface({ input: child[name] }).on("line", onLine);
    }
    const abort = () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, "SIGKILL");
    };
    signal?.addEventListener("abort", abort, { once: true });
    // A child that exits without reading its input breaks the pipe; its exit code tells the rest.
    child.stdin.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") reject(error);
    });
    child.stdin.end(input ?? "");
    child.on("error", (error: NodeJS.ErrnoException) => {
      signal?.removeEventListener("abort", abort);
      if (error.code === "ENOENT") resolve({ code: 127, stdout: "", stderr: `${command}: no such program` });
      else reject(error);
    });
    child.on("close", (code, killedBy) => {
      signal?.removeEventListener("abort", abort);
      if (signal?.aborted) reject(signal.reason);
      else resolve({ code: code ?? 128 + (SIGNALS[killedBy ?? ""] ?? 0), ...kept });
    });
  });
}
