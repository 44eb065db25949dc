/** Writes one attempt's checkpoints: files first, under conditions, and the manifest that makes them count last. */
import {
  type CheckpointManifest,
  checkpointManifestKey,
  checkpointPrefix,
  type KeepRule,
  seriesPrefix,
} from "../core/checkpoint.ts";
import { listSteps, readManifest } from "../core/checkpoint-reader.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import { nameSchema } from "../core/spec.ts";
import type { StateStore } from "../core/state-store.ts";
import { isOutage } from "../core/until-done.ts";
import type { Saved } from "./checkpoint-files.ts";
import { type History, openHistory } from "./checkpoint-history.ts";
import { keepCheckpoints } from "./keep-checkpoints.ts";
import type { Patience } from "./patience.ts";
import type { ReadableSeries } from "./restore.ts";
import { type Part, removeUnsent, type Sent, saveParts } from "./save-parts.ts";

export interface CheckpointOwner {
  id: string;
  generation: number;
  app: string;
  fn: string;
  version: string;
  /** What it chose before its runner was restarted. */
  series?: string;
  startsOver?: boolean;
  /** What its function was called with. */
  args?: () => Promise<CheckpointManifest["arguments"]>;
}

/** Without parts only metrics. */
export interface Report extends Pick<Extract<Operation, { op: "report" }>, "metrics" | "step" | "keep"> {
  parts: Part[];
  /** Of a gang that keeps rows by rank: those of the others. */
  ranks?: { rank: number; metrics: CheckpointManifest["metrics"] }[];
}

export interface Stored {
  step: number;
  warnings?: string[];
}

export interface CheckpointWriter {
  choose(series: string, resume: boolean): Promise<{ series: string; next_step: number }>;
  /** The same `request` again, after a connection or a runner was lost, is the same checkpoint. */
  report(report: Report, request: number): Promise<Stored>;
  /** Gives the report its step; what it answers resolves when it is stored. Saves run one after the other. */
  begin(report: Report, request: number): Promise<{ stored: Promise<Stored> }>;
  /** Which series `restore` means by default. */
  readable(): Promise<ReadableSeries>;
  /** What is saved from now on comes of it. */
  loaded(manifest: Pick<CheckpointManifest, "series" | "step">): void;
  /** The attempt has ended. */
  close(): Promise<void>;
}

export interface CheckpointDeps {
  state: Pick<StateStore, "holds" | "invocations">;
  objects: ObjectStore;
  runner: string;
  leaseMs: number;
  log: Log;
  /** Repeats what an outage of a store kept from being done. */
  lasting: Patience["lasting"];
}

const MAX_STEP = 99_999_999;
const MOST_PARENTS = 16;

interface Chosen {
  series: string;
  resume: boolean;
  nextStep: number;
  /** Requests that were answered or are about to be, with their steps. */
  answered: Map<number, Promise<Stored>>;
  history: History;
  /** The latest one of the series, whose files need not be sent again. */
  latest?: Saved;
  /** Metrics of the series' checkpoints, as far as they were read. */
  known: Map<number, CheckpointManifest["metrics"]>;
}

/** A shim asks again what it heard nothing of; a function's threads wait for few reports at once. */
const ANSWERS_KEPT = 64;

export function createCheckpointWriter(
  deps: CheckpointDeps,
  owner: CheckpointOwner,
  isRunning: () => boolean,
): CheckpointWriter {
  const { state, objects, runner, leaseMs, log, lasting } = deps;
  const me = { id: owner.id, generation: owner.generation };
  let chosen: Chosen | undefined;
  let parents: NonNullable<CheckpointManifest["parents"]> = [];
  let saving: Promise<unknown> = Promise.resolve();
  let turn: Promise<unknown> = Promise.resolve();
  let args: CheckpointManifest["arguments"];

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
    const history = await openHistory(deps, series, me);
    const answered = new Map(history.before.map(({ request, step }) => [request, Promise.resolve({ step })]));
    let nextStep = (steps.at(-1) ?? -1) + 1;
    for (const { step } of history.before) nextStep = Math.max(nextStep, step + 1);
    if (newest && isMine(newest)) {
      const { request, step, metrics } = newest;
      if (request !== undefined && !answered.has(request)) {
        answered.set(request, Promise.resolve({ step }));
        await history.add({ step, request, checkpoint: true, metrics });
      }
      if (parents.length === 0) parents = newest.parents ?? [];
    }
    state.invocations
      .note(me, { series, startsOver: !resume })
      .catch((err: unknown) => log.debug({ err, ...me }, "a note was not taken"));
    const latest = newest && { manifest: newest, samples: new Map<string, string>() };
    return { series, resume, nextStep, answered, history, latest, known: new Map() };
  }

  const isMine = (manifest: CheckpointManifest): boolean =>
    manifest.invocation === me.id && manifest.generation === me.generation;

  /** Ranks of a gang ask at the same time; a series is taken once. */
  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = turn.then(act);
    turn = done.catch(() => undefined);
    return done;
  }

  const current = async (): Promise<Chosen> => (chosen ??= await hold(owner.series ?? owner.id, !owner.startsOver));

  async function stillMine(series: string): Promise<void> {
    const { lost } = await state.invocations.renew(runner, [me], leaseMs);
    if (lost.length > 0 || !isRunning()) fail("node_lost", "the lease of this attempt is another's");
    await take(series);
  }

  async function save(into: Chosen, step: number, report: Report, request: number, sent: Sent) {
    const { series } = into;
    const { id: invocation, generation, app, fn, version } = owner;
    const prefix = checkpointPrefix(series, step);
    const { files, samples, warnings } = await saveParts(objects, prefix, report.parts, into.latest, sent);
    args ??= await owner.args?.();
    await stillMine(series);
    const keep = keepRule(report);
    const manifest: CheckpointManifest = {
      ...{ series, step, createdAt: new Date().toISOString(), invocation, generation, app, fn, version, request },
      ...{ metrics: report.metrics, files },
      ...(parents.length > 0 ? { parents } : {}),
      ...(args ? { arguments: args } : {}),
      ...(keep ? { keep } : {}),
    };
    const { created } = await objects.put(checkpointManifestKey(series, step), JSON.stringify(manifest, null, 2), {
      ifNoneMatch: true,
      contentType: "application/json",
    });
    if (!created) exists(series, step);
    into.latest = { manifest, samples };
    return { manifest, warnings };
  }

  /** A save that failed may be tried again, so its files go; unless they may be another owner's by now. */
  async function saveWhole(...saved: Parameters<typeof save>): ReturnType<typeof save> {
    const [{ series }, step] = saved;
    try {
      return await save(...saved);
    } catch (thrown) {
      const { code } = asFabricError(thrown);
      const othersMayWrite = code === "node_lost" || code === "series_in_use" || code === "checkpoint_exists";
      if (!othersMayWrite && !isOutage(thrown) && isRunning())
        await objects.deletePrefix(checkpointPrefix(series, step));
      throw thrown;
    }
  }

  /** Goes on after an outage with what is not sent yet. */
  async function commit(into: Chosen, step: number, report: Report, request: number): Promise<string[]> {
    const { series } = into;
    const sent: Sent = new Map();
    let isRepeat = false;
    return lasting(async () => {
      const there = await readManifest(objects, series, step);
      if (there && !(isMine(there) && there.request === request)) exists(series, step);
      if (!there && isRepeat) {
        await stillMine(series);
        await removeUnsent(objects, checkpointPrefix(series, step), sent);
      }
      isRepeat = true;
      const { manifest, warnings } = there
        ? { manifest: there, warnings: [] }
        : await saveWhole(into, step, report, request, sent);
      if (manifest.keep) await keepCheckpoints(deps, manifest.keep, manifest, into.known);
      return warnings;
    });
  }

  async function store(into: Chosen, step: number, report: Report, request: number): Promise<Stored> {
    const { parts, metrics } = report;
    let warnings: string[] = [];
    try {
      if (parts.length > 0) {
        const saved = saving.then(() => commit(into, step, report, request));
        saving = saved.catch(() => undefined);
        warnings = await saved;
      }
    } catch (thrown) {
      into.answered.delete(request);
      if (into.nextStep === step + 1 && report.step === undefined) into.nextStep = step;
      throw thrown;
    }
    const row = { step, request, checkpoint: parts.length > 0 };
    into.history.addRanks((report.ranks ?? []).map((one) => ({ ...row, ...one })));
    await into.history.add({ ...row, metrics });
    return { step, ...(warnings.length > 0 ? { warnings } : {}) };
  }

  async function begin(report: Report, request: number): Promise<{ stored: Promise<Stored> }> {
    const into = await inTurn(() => lasting(current));
    const before = into.answered.get(request);
    if (before !== undefined) return { stored: before };
    const step = report.step ?? into.nextStep;
    if (step > MAX_STEP) fail("bad_request", `step ${step} is over ${MAX_STEP}`);
    into.nextStep = Math.max(into.nextStep, step + 1);
    const stored = store(into, step, report, request);
    into.answered.set(request, stored);
    if (into.answered.size > ANSWERS_KEPT) into.answered.delete(into.answered.keys().next().value!);
    return { stored };
  }

  return {
    choose: (series, resume) =>
      inTurn(async () => {
        if (chosen?.series !== series) {
          await saving;
          await chosen?.history.close();
          chosen = await lasting(() => hold(series, resume));
        }
        chosen.resume = resume;
        return { series, next_step: chosen.nextStep };
      }),
    begin,
    report: async (report, request) => (await begin(report, request)).stored,
    async readable() {
      const { series, resume } = chosen ?? { series: owner.series ?? owner.id, resume: !owner.startsOver };
      return { series, ...(resume ? {} : { invocation: owner.id }) };
    },
    loaded({ series, step }) {
      const isKnown = parents.some((one) => one.series === series && one.step === step);
      if (!isKnown && parents.length < MOST_PARENTS) parents = [...parents, { series, step }];
    },
    async close() {
      await chosen?.history.close();
    },
  };
}

const keepRule = ({ keep }: Report): KeepRule | undefined =>
  keep && {
    ...(keep.num_to_keep === undefined ? {} : { numToKeep: keep.num_to_keep }),
    ...(keep.attribute === undefined ? {} : { attribute: keep.attribute, order: keep.order ?? "max" }),
  };

const exists = (series: string, step: number): never =>
  fail("checkpoint_exists", `step ${step} of the series ${series} is committed already`, { series, step });

/** What was not committed by an earlier attempt must not be mixed into a new checkpoint of the same step. */
export async function removeUncommitted(objects: ObjectStore, series: string): Promise<void> {
  const committed = new Set((await listSteps(objects, series)).map((step) => checkpointPrefix(series, step)));
  const open: string[] = [];
  for await (const entry of objects.list(seriesPrefix(series), { delimiter: "/" }))
    if (entry.kind === "prefix" && /\/\d{8}\/$/.test(entry.prefix) && !committed.has(entry.prefix))
      open.push(entry.prefix);
  for (const prefix of open) await objects.deletePrefix(prefix);
}
