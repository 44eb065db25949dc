/** What a client asks about checkpoints: series, manifests, tags, metrics, files. */
import type { CheckpointManifest } from "../../core/checkpoint.ts";
import type { MetricsRow } from "../../core/checkpoint-metrics.ts";
import type { CheckpointTag } from "../../core/checkpoint-tag.ts";
import type { Http } from "./http.ts";

const part = encodeURIComponent;

export const checkpointCalls = (api: Http) => ({
  series: () => api.json<unknown>("GET", "/v1/checkpoints"),
  checkpoints: (series: string) =>
    api.json<{ checkpoints: CheckpointManifest[]; tags?: CheckpointTag[] }>("GET", `/v1/checkpoints/${part(series)}`),
  tagCheckpoint: (series: string, tag: string, step: number, from?: number | null) =>
    api.json<CheckpointTag>("PUT", `/v1/checkpoints/${part(series)}/tags/${part(tag)}`, { json: { step, from } }),
  untagCheckpoint: (series: string, tag: string) =>
    api.json<unknown>("DELETE", `/v1/checkpoints/${part(series)}/tags/${part(tag)}`),
  removeCheckpoint: (series: string, step: string) =>
    api.json<{ step: number }>("DELETE", `/v1/checkpoints/${part(series)}/${part(step)}`),
  checkpoint: (series: string, step: string) =>
    api.json<CheckpointManifest>("GET", `/v1/checkpoints/${part(series)}/${part(step)}`),
  /** Rank 0's rows; those of another `rank`, or of "all", where they are kept. */
  checkpointMetrics: (series: string, rank?: string) =>
    api.lines<MetricsRow>(
      "GET",
      `/v1/checkpoints/${part(series)}/metrics${rank === undefined ? "" : `?rank=${encodeURIComponent(rank)}`}`,
    ),
  /** Byte positions as in HTTP: both inclusive. */
  checkpointFile: (
    series: string,
    step: number,
    path: string,
    { range, signal }: { range?: { start: number; end: number }; signal?: AbortSignal } = {},
  ) =>
    api.send("GET", `/v1/checkpoints/${part(series)}/${step}/files/${path.split("/").map(part).join("/")}`, {
      signal,
      ...(range ? { headers: { range: `bytes=${range.start}-${range.end}` } } : {}),
    }),
});
