/** Writes one attempt's checkpoints: files first, under conditions, and the manifest that makes them count last. */
import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import {
  type CheckpointFile,
  type CheckpointManifest,
  checkpointManifestKey,
  checkpointPrefix,
  seriesPrefix,
} from "../core/checkpoint.ts";
import { listSteps, readManifest } from "../core/checkpoint-reader.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/protocol.ts";
import { nameSchema } from "../core/spec.ts";
import type { StateStore } from "../core/state-store.ts";
import { filesBelow, openBelow, relativePath } from "./open-below.ts";
import type { ReadableSeries } from "./restore.ts";

export interface CheckpointOwner {
  id: string;
  generation: number;
  app: string;
  fn: string;
  version: string;
  /** Host folder of its container's scratch. */
  scratch: string;
  /** What it chose before its runner was restarted. */
  series?: string;
  startsOver?: boolean;
}

export interface CheckpointWriter {
  choose(series: string, resume: boolean): Promise<{ series: string; next_step: number }>;
  /** The same `request` again, after a connection or a runner was lost, is the same checkpoint. */
  report(report: Extract<Operation, { op: "report" }>, request: number): Promise<{ step: number }>;
  /** Which series `restore` means by default. */
  readable(): Promise<ReadableSeries>;
}

export interface CheckpointDeps {
  state: Pick<StateStore, "holds" | "invocations">;
  objects: ObjectStore;
  runner: string;
  leaseMs: number;
  log: Log;
}

const MAX_STEP = 99_999_999;

interface Chosen {
  series: string;
  resume: boolean;
  nextStep: number;
  /** Requests that were answered, with their steps. */
  answered: Map<number, number>;
}

/** A shim asks again what it heard nothing of; a function's threads wait for few reports at once. */
const ANSWERS_KEPT = 64;

export function createCheckpointWriter(
  { state, objects, runner, leaseMs, log }: CheckpointDeps,
  owner: CheckpointOwner,
  isRunning: () => boolean,
): CheckpointWriter {
  const me = { id: owner.id, generation: owner.generation };
  let chosen: Chosen | undefined;

  async function take(series: string): Promise<void> {
    const taken = await state.holds.takeSeries(series, me);
    if (!taken.ok) fail("series_in_use", `${taken.owner} writes the series ${series}`, { series, owner: taken.owner });
  }

  async function hold(series: string, resume: boolean): Promise<Chosen> {
    if (!nameSchema.safeParse(series).success)
      fail("invalid_name", `${series}: a series' name holds letters, digits, '-' and '_', 64 at most`);
    await take(series);
    await removeUncommitted(objects, series);
    const steps = await listSteps(objects, series);
    const newest = steps.length > 0 ? await readManifest(objects, series, steps.at(-1)!) : undefined;
    const answered = new Map(newest?.request !== undefined && isMine(newest) ? [[newest.request, newest.step]] : []);
    state.invocations
      .note(me, { series, startsOver: !resume })
      .catch((err: unknown) => log.debug({ err, ...me }, "a note was not taken"));
    return { series, resume, nextStep: (steps.at(-1) ?? -1) + 1, answered };
  }

  const isMine = (manifest: CheckpointManifest): boolean =>
    manifest.invocation === me.id && manifest.generation === me.generation;

  const current = async (): Promise<Chosen> => (chosen ??= await hold(owner.series ?? owner.id, !owner.startsOver));

  async function stillMine(series: string): Promise<void> {
    const { lost } = await state.invocations.renew(runner, [me], leaseMs);
    if (lost.length > 0 || !isRunning()) fail("node_lost", "the lease of this attempt is another's");
    await take(series);
  }

  async function save(
    series: string,
    step: number,
    directory: string,
    metrics: CheckpointManifest["metrics"],
    request: number,
  ) {
    const folder = relativePath(directory);
    const prefix = checkpointPrefix(series, step);
    const names = await filesBelow(owner.scratch, folder);
    if (names.includes("manifest.json"))
      fail("checkpoint_invalid", "manifest.json is fabric's own name in a checkpoint");
    const files: CheckpointFile[] = [];
    for (const path of names) files.push(await upload(objects, owner.scratch, folder, path, prefix));
    await stillMine(series);
    const { id: invocation, generation, app, fn, version } = owner;
    const createdAt = new Date().toISOString();
    const manifest: CheckpointManifest = {
      series,
      step,
      createdAt,
      invocation,
      generation,
      app,
      fn,
      version,
      request,
      metrics,
      files,
    };
    const { created } = await objects.put(checkpointManifestKey(series, step), JSON.stringify(manifest, null, 2), {
      ifNoneMatch: true,
      contentType: "application/json",
    });
    if (!created) exists(series, step);
  }

  /** A save that failed may be tried again, so its files go; unless they may be another owner's by now. */
  async function saveWhole(...saved: Parameters<typeof save>): Promise<void> {
    const [series, step] = saved;
    try {
      await save(...saved);
    } catch (thrown) {
      const { code } = asFabricError(thrown);
      const othersMayWrite = code === "node_lost" || code === "series_in_use" || code === "checkpoint_exists";
      if (!othersMayWrite && isRunning()) await objects.deletePrefix(checkpointPrefix(series, step));
      throw thrown;
    }
  }

  return {
    async choose(series, resume) {
      if (chosen?.series !== series) chosen = await hold(series, resume);
      chosen.resume = resume;
      return { series, next_step: chosen.nextStep };
    },

    async report({ metrics, directory, step: given }, request) {
      const into = await current();
      const before = into.answered.get(request);
      if (before !== undefined) return { step: before };
      const step = given ?? into.nextStep;
      if (step > MAX_STEP) fail("bad_request", `step ${step} is over ${MAX_STEP}`);
      if (directory !== undefined) {
        const there = await readManifest(objects, into.series, step);
        if (!there) await saveWhole(into.series, step, directory, metrics, request);
        else if (!isMine(there) || there.request !== request) exists(into.series, step);
      }
      into.nextStep = Math.max(into.nextStep, step + 1);
      into.answered.set(request, step);
      if (into.answered.size > ANSWERS_KEPT) into.answered.delete(into.answered.keys().next().value!);
      return { step };
    },

    async readable() {
      const { series, resume } = chosen ?? { series: owner.series ?? owner.id, resume: !owner.startsOver };
      return { series, ...(resume ? {} : { invocation: owner.id }) };
    },
  };
}

const exists = (series: string, step: number): never =>
  fail("checkpoint_exists", `step ${step} of the series ${series} is committed already`, { series, step });

/** What was not committed by an earlier attempt must not be mixed into a new checkpoint of the same step. */
export async function removeUncommitted(objects: ObjectStore, series: string): Promise<void> {
  const committed = new Set((await listSteps(objects, series)).map((step) => checkpointPrefix(series, step)));
  const open: string[] = [];
  for await (const entry of objects.list(seriesPrefix(series), { delimiter: "/" }))
    if (entry.kind === "prefix" && !committed.has(entry.prefix)) open.push(entry.prefix);
  for (const prefix of open) await objects.deletePrefix(prefix);
}

async function upload(
  objects: ObjectStore,
  scratch: string,
  folder: string,
  path: string,
  prefix: string,
): Promise<CheckpointFile> {
  const handle = await openBelow(scratch, `${folder}/${path}`);
  try {
    const { size } = await handle.stat();
    const hash = createHash("sha256");
    let seen = 0;
    const measured = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        seen += chunk.length;
        done(null, chunk);
      },
    });
    const source = handle.createReadStream({ autoClose: false, end: Math.max(0, size - 1) });
    source.on("error", (error) => measured.destroy(error));
    const body = size === 0 ? Buffer.alloc(0) : source.pipe(measured);
    const key = `${prefix}${path}`;
    const { created } = Buffer.isBuffer(body)
      ? await objects.put(key, body, { ifNoneMatch: true })
      : await objects.putStream(key, body, { ifNoneMatch: true, size });
    if (!created) fail("checkpoint_exists", `${key} was written by another attempt`);
    if (seen !== size) fail("checkpoint_invalid", `${path} changed while it was saved`);
    return { path, size, sha256: hash.digest("hex") };
  } finally {
    await handle.close();
  }
}
