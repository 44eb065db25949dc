/** One run of one process: started, its ready line awaited, its output kept in a log, its end told. */
import { spawn } from "node:child_process";
import { closeSync, openSync, readSync, renameSync, statSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { hasCode, LocalFailure } from "./failure.ts";
import type { ProcessPlan } from "./plan.ts";

const ROTATE_BYTES = 10 * 1024 * 1024;
const GET: Record<string, string> = {
  "redis-server":
    "Install it (Debian: apt-get install redis-server; macOS: brew install redis), or set FABRIC_REDIS_URL.",
};

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface ReadyLine {
  ready: true;
  [fact: string]: unknown;
}

export interface Launched {
  pid: number;
  /** The first line {"ready":true,...} on its stdout; never settles when there is none. */
  readyLine: Promise<ReadyLine>;
  exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
}

export type Launch = (plan: ProcessPlan, logFile: string) => Promise<Launched>;

/** @param environment what every child inherits, before the plan's own variables. */
export const launcher =
  (environment: NodeJS.ProcessEnv, cwd: string): Launch =>
  async (plan, logFile) => {
    rotate(logFile);
    const log = openSync(logFile, "a", 0o600);
    const child = spawn(plan.command, plan.args, {
      cwd,
      env: { ...environment, ...plan.env },
      stdio: ["ignore", plan.readiness === "line" ? "pipe" : log, log],
    });
    const exited = new Promise<Exit>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    exited.then(() => closeSync(log));
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(cannotStart(plan, error)));
    });
    const readyLine = new Promise<ReadyLine>((resolve) => {
      if (!child.stdout) return;
      createInterface({ input: child.stdout }).on("line", (line) => {
        const ready = parseReady(line);
        if (ready) resolve(ready);
        else if (child.exitCode === null) writeSync(log, `${line}\n`);
      });
    });
    return { pid: child.pid ?? 0, readyLine, exited, kill: (signal) => void child.kill(signal) };
  };

function cannotStart(plan: ProcessPlan, error: Error): LocalFailure {
  const missing = hasCode(error, "ENOENT");
  return new LocalFailure(
    missing ? `${plan.command} is not installed` : `${plan.name} cannot be started: ${error.message}`,
    missing ? GET[plan.command] : undefined,
    { cause: error },
  );
}

export function parseReady(line: string): ReadyLine | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === "object" && "ready" in value && value.ready === true
      ? (value as ReadyLine)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // an ordinary line of output that begins with a brace
    throw error;
  }
}

/** One old log is kept: `NAME.log.1`. */
export function rotate(path: string, limitBytes = ROTATE_BYTES): void {
  try {
    if (statSync(path).size > limitBytes) renameSync(path, `${path}.1`);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/** The log's last lines, for a message about a process that did not start. */
export function lastLines(path: string, count = 12): string {
  try {
    const fd = openSync(path, "r");
    try {
      const size = statSync(path).size;
      const buffer = Buffer.alloc(Math.min(size, 16 * 1024));
      readSync(fd, buffer, 0, buffer.length, size - buffer.length);
      return buffer.toString("utf8").trimEnd().split("\n").slice(-count).join("\n");
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  }
}
