/** Checkpoints in the bucket: where they are, and the manifest that makes one complete. */

export interface CheckpointFile {
  /** As saved, relative, '/' between parts. */
  path: string;
  size: number;
  /** Hex. */
  sha256: string;
}

/** `manifest.json`, written last and only once: a folder without it is no checkpoint. */
export interface CheckpointManifest {
  series: string;
  step: number;
  createdAt: string;
  invocation: string;
  generation: number;
  app: string;
  fn: string;
  version: string;
  /** Number of the container's request that saved it: a request repeated after a lost connection is told from a new one. */
  request?: number;
  metrics: Record<string, number | string | boolean | null>;
  files: CheckpointFile[];
}

export const seriesPrefix = (series: string): string => `checkpoints/${series}/`;
export const checkpointPrefix = (series: string, step: number): string =>
  `${seriesPrefix(series)}${String(step).padStart(8, "0")}/`;
export const checkpointManifestKey = (series: string, step: number): string =>
  `${checkpointPrefix(series, step)}manifest.json`;
