/** Checkpoints in the bucket: where they are, and the manifest that makes one complete. */

import type { Encoding } from "./encoding.ts";

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
  /** The checkpoints that its attempt had loaded before it saved this one. */
  parents?: { series: string; step: number }[];
  /** What its function was called with; small JSON as it is, and no digest of what is very large. */
  arguments?: { sha256?: string; bytes: number; encoding: Encoding; json?: unknown };
  /** What its series kept when it was saved. */
  keep?: KeepRule;
}

/** Which checkpoints of a series stay: the best, or without an attribute the latest ones. */
export interface KeepRule {
  /** Absent: all. */
  numToKeep?: number;
  /** The metric that says how good one is. */
  attribute?: string;
  order?: "max" | "min";
}

export const seriesPrefix = (series: string): string => `checkpoints/${series}/`;
export const checkpointPrefix = (series: string, step: number): string =>
  `${seriesPrefix(series)}${String(step).padStart(8, "0")}/`;
/** Stands in the folder of a checkpoint that is being removed: no tag may be put on it any more. */
export const removingKey = (series: string, step: number): string => `${checkpointPrefix(series, step)}${REMOVING}`;
export const REMOVING = ".fabric-removing";
export const checkpointManifestKey = (series: string, step: number): string =>
  `${checkpointPrefix(series, step)}manifest.json`;
