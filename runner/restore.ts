/** Brings a checkpoint's files to a shim: which one is decided here, the bytes follow as streams. */
import type { CheckpointManifest } from "../core/checkpoint.ts";
import { checkpointPrefix } from "../core/checkpoint.ts";
import { bestCheckpoint, findCheckpoint, latestCheckpoint, readManifest } from "../core/checkpoint-reader.ts";
import { fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import { nameSchema } from "../core/spec.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { Patience } from "./patience.ts";
import { steady } from "./steady.ts";

type Restore = Extract<Operation, { op: "restore" }>;

export interface ReadableSeries {
  series: string;
  /** Only checkpoints of this invocation count: it started over. */
  invocation?: string;
}

interface RestoreDeps {
  objects: ObjectStore;
  link: ContainerLink;
  log: Log;
  patience: Patience;
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

/** Answers `null` where there is none; `begin` starts the streams, once the reply that names them is sent. */
export async function restore({ objects, link, log, patience }: RestoreDeps, wanted: Restore, own: ReadableSeries) {
  const manifest = await patience.lasting(() => find(objects, wanted, own));
  const streams = link.streams();
  if (!manifest || !streams) return null;
  const { series, step, metrics } = manifest;
  const files = manifest.files.map(({ path, size }) => ({ path, size, stream: streams.reserve() }));
  const send = async (): Promise<void> => {
    for (const { path, size, stream } of files) {
      const open = async (from: number) => {
        const range = from === 0 ? undefined : { start: from };
        const object = await objects.get(`${checkpointPrefix(series, step)}${path}`, { range });
        return object?.body ?? fail("checkpoint_not_found", `${path} of step ${step} of ${series} is gone`);
      };
      await streams.send(stream, path, steady(size, open, patience));
    }
  };
  const begin = (): void => {
    send().catch((thrown: unknown) => {
      // The shim waits for streams that will not come: what is left is opened broken, so that it learns why.
      log.warn({ err: thrown, series, step }, "a checkpoint could not be brought to its container");
      const reason = String((thrown as Error).message).slice(0, 1024);
      for (const { stream } of files) link.send({ type: "stream.cancel", stream, reason });
    });
  };
  return { answer: { series, step, metrics, files }, begin, manifest };
}
