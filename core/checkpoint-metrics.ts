/** The metrics that a series reported: every row, as lines of JSON in numbered parts beside its steps. */
import { text } from "node:stream/consumers";
import { type CheckpointManifest, seriesPrefix } from "./checkpoint.ts";
import type { ObjectStore } from "./object-store.ts";

export interface MetricsRow {
  step: number;
  at: string;
  invocation: string;
  generation: number;
  /** Number of the container's request: one that was repeated is one row. */
  request: number;
  /** A checkpoint was saved with it. */
  checkpoint: boolean;
  metrics: CheckpointManifest["metrics"];
  /** Of a gang whose rows are kept by rank, on rows of others than rank 0. */
  rank?: number;
}

export interface MetricsPart {
  key: string;
  number: number;
  invocation: string;
  generation: number;
  /** It holds the rows of ranks other than 0. */
  ofRanks: boolean;
}

const prefix = (series: string): string => `${seriesPrefix(series)}metrics/`;
const RANKS = "ranks/";

/** Each attempt writes parts of its own, so that one that lost its lease overwrites nothing of the next. */
export const metricsKey = (
  series: string,
  { number, invocation, generation, ofRanks }: Omit<MetricsPart, "key">,
): string =>
  `${prefix(series)}${ofRanks ? RANKS : ""}${String(number).padStart(8, "0")}-${invocation}-g${generation}.jsonl`;

/** In the order they were begun; those of other ranks than 0 behind. */
export async function listMetricsParts(objects: ObjectStore, series: string): Promise<MetricsPart[]> {
  const parts: MetricsPart[] = [];
  for await (const entry of objects.list(prefix(series))) {
    if (entry.kind !== "object") continue;
    const named = /^(ranks\/)?(\d{8})-([A-Za-z0-9_]+)-g(\d+)\.jsonl$/.exec(entry.key.slice(prefix(series).length));
    if (!named) continue;
    const [, ofRanks, number, invocation = "", generation] = named;
    const part = { number: Number(number), invocation, generation: Number(generation), ofRanks: ofRanks !== undefined };
    parts.push({ key: entry.key, ...part });
  }
  return parts;
}

/** The lines of the parts, one part at a time; none for a part that is gone. */
export async function* readMetricsLines(objects: ObjectStore, parts: readonly MetricsPart[]): AsyncIterable<string> {
  for (const { key } of parts) {
    const object = await objects.get(key);
    if (object) yield await text(object.body);
  }
}

export async function readMetrics(objects: ObjectStore, parts: readonly MetricsPart[]): Promise<MetricsRow[]> {
  const rows: MetricsRow[] = [];
  for await (const lines of readMetricsLines(objects, parts))
    for (const line of lines.split("\n")) if (line !== "") rows.push(JSON.parse(line) as MetricsRow);
  return rows;
}
