/** The data directory: where each thing fabric keeps on this machine lies, and files that are written whole or not at all. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode, LocalFailure } from "./failure.ts";

export interface DataDir {
  root: string;
  state: string;
  running: string;
  redis: string;
  redisConf: string;
  s3: string;
  logs: string;
  log(name: string): string;
}

export function dataDir(root: string): DataDir {
  const logs = join(root, "logs");
  return {
    root,
    state: join(root, "state.json"),
    running: join(root, "running.json"),
    redis: join(root, "redis"),
    redisConf: join(root, "redis.conf"),
    s3: join(root, "s3"),
    logs,
    log: (name) => join(logs, `${name}.log`),
  };
}

export function makeDataDir(dir: DataDir): void {
  try {
    for (const folder of [dir.root, dir.redis, dir.s3, dir.logs]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(dir.root, 0o700);
  } catch (error) {
    throw new LocalFailure(
      `cannot use ${dir.root} as data directory: ${error instanceof Error ? error.message : error}`,
      "Choose another with --data-dir or FABRIC_DATA_DIR.",
      { cause: error },
    );
  }
}

/** Readers see the old text or the new one; only the owner may read it. */
export function writePrivate(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, path);
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}
