/** Brings a checkpoint's files to a shim: which one is decided here. */
import type { CheckpointManifest } from "../core/checkpoint.ts";
import { checkpointPrefix } from "../core/checkpoint.ts";
import { bestCheckpoint, findCheckpoint, latestCheckpoint, readManifest } from "../core/checkpoint-reader.ts";
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import { nameSchema } from "../core/spec.ts";
import { type BringDeps, bring } from "./bring.ts";

type Restore = Extract<Operation, { op: "restore" }>;

export interface ReadableSeries {
  series: string;
  /** Only checkpoints of this invocation count: it started over. */
  invocation?: string;
}

async function find(
  objects: ObjectStore,
  wanted: Restore,
  own: ReadableSeries,
): Promise<CheckpointManifest | undefined> {
  const series = wanted.series ?? own.series;
  if (!nameSchema.safeParse(series).success) fail("invalid_name", `${series} is not a series' name`);
  const invocation = series === own.series ? own.invocation : undefined;
  if (wanted.at !== undefined) return findCheckpoint(objects, series, wanted.at, { invocation });
  if (wanted.step === undefined && wanted.metric === undefined)
    return latestCheckpoint(objects, series, { invocation });
  const found =
    wanted.step === undefined
      ? await bestCheckpoint(objects, series, wanted.metric!, wanted.order ?? "max")
      : await readManifest(objects, series, wanted.step);
  return invocation === undefined || found?.invocation === invocation ? found : undefined;
}

/** Answers `null` where there is none. */
export async function restore(deps: BringDeps, wanted: Restore, own: ReadableSeries) {
  const manifest = await deps.patience.lasting(() => find(deps.objects, wanted, own));
  if (!manifest) return null;
  const { series, step, metrics } = manifest;
  if (wanted.look) return { answer: { series, step, metrics, files: [] } };
  const prefix = checkpointPrefix(series, step);
  const brought = await bring(
    deps,
    manifest.files.map(({ path, size }) => ({ path, size, key: `${prefix}${path}` })),
  );
  if (!brought) return null;
  return { answer: { series, step, metrics, files: brought.files }, begin: brought.begin, manifest };
}
