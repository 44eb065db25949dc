/** The runner's folders in the data directory. */
import { join } from "node:path";

export interface RunnerDirs {
  bundles: string;
  spool: string;
  /** Linux takes 107 bytes of socket path, so ids are shortened to their random end. */
  socketDir(container: string): string;
  scratchDir(container: string): string;
}

export const SOCKET_NAME = "s";
/** Of a gang's rank, beside that of its container's shim. */
export const rankSocket = (local: number): string => `r${local}`;

export function runnerDirs(dataDir: string): RunnerDirs {
  return {
    bundles: join(dataDir, "bundles"),
    spool: join(dataDir, "spool"),
    socketDir: (container) => join(dataDir, "s", container.slice(-12)),
    scratchDir: (container) => join(dataDir, "scratch", container),
  };
}

export const foldersOf = (dirs: RunnerDirs, id: string) => ({
  socketDir: dirs.socketDir(id),
  scratchDir: dirs.scratchDir(id),
});
