/** Answers what user code asks of its runner through the shim: series, reports, restores and calls. */
import type { Clock } from "../core/clock.ts";
import { asFabricError, type FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { Operation } from "../core/operation.ts";
import type { FromShim } from "../core/protocol.ts";
import type { StateStore } from "../core/state-store.ts";
import { calledName } from "../core/variant.ts";
import { argumentsOf } from "./arguments-of.ts";
import { type Asking, createAsking } from "./asking.ts";
import type { LiveAttempt } from "./attempt.ts";
import type { CallOperation, Calls } from "./calls.ts";
import { type CheckpointOwner, type CheckpointWriter, createCheckpointWriter } from "./checkpoint.ts";
import type { ContainerLink } from "./container-contract.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { listDataset, openDataset } from "./dataset.ts";
import { createGangReports, type GangReports } from "./gang-reports.ts";
import { createPatience, type Patience } from "./patience.ts";
import { restore } from "./restore.ts";

type ReportOperation = Extract<Operation, { op: "report" }>;
type Request = Extract<FromShim, { type: "request" }>;

export interface OperationContext {
  attempt: LiveAttempt;
  plan: ContainerPlan;
  link: ContainerLink;
  scratch: string;
  /** Of a gang: who of how many asks. */
  rank?: { rank: number; worldSize: number };
}

export interface Operations {
  /** Replies on the link; never throws. */
  answer(context: OperationContext, request: Request, body: Buffer): void;
  /** The attempt has left its container. */
  left(attempt: LiveAttempt): void;
  /** Of a gang: this rank's function has returned, so it asks nothing more. */
  rankReturned(attempt: LiveAttempt, rank: number): void;
  /** Its outcome is stored. */
  ended(attempt: LiveAttempt): void;
}

export interface OperationDeps {
  state: Pick<StateStore, "holds" | "invocations">;
  objects: ObjectStore;
  /** The name of the bucket, as URLs of its files say it. */
  bucket: string;
  log: Log;
  runner: string;
  leaseMs: number;
  clock: Clock;
  /** How long an attempt waits for storage that is away. */
  patienceMs: number;
  calls: Calls;
}

export function createOperations(deps: OperationDeps): Operations {
  const asking = new WeakMap<LiveAttempt, Asking>();
  const writers = new WeakMap<LiveAttempt, CheckpointWriter>();
  const patiences = new WeakMap<LiveAttempt, Patience>();
  const gangs = new WeakMap<LiveAttempt, GangReports>();
  /** Ranks that returned before any reported. */
  const returned = new WeakMap<LiveAttempt, Set<number>>();
  /** Operations of one attempt, in a gang of one rank, run one after the other. */
  const last = new WeakMap<object, Promise<void>>();

  function patienceOf(attempt: LiveAttempt): Patience {
    const { id, generation } = attempt;
    const known = patiences.get(attempt);
    if (known) return known;
    const patience = createPatience({
      ...deps,
      isRunning: () => attempt.state() === "running",
      tell: (awaits = "") => deps.state.invocations.note({ id, generation }, { awaits }),
      giveUp: attempt.giveUp,
    });
    patiences.set(attempt, patience);
    return patience;
  }

  function writerOf({ attempt, plan }: OperationContext): CheckpointWriter {
    let writer = writers.get(attempt);
    if (!writer) {
      const { id, generation } = attempt;
      const { app, version } = plan.manifest;
      const { series, startsOver } = attempt.claimed.record;
      const owner: CheckpointOwner = {
        id,
        generation,
        app,
        fn: calledName(attempt.claimed.record),
        version,
        series,
        startsOver,
        args: () => argumentsOf(deps.objects, attempt.claimed.record),
      };
      const { lasting } = patienceOf(attempt);
      writer = createCheckpointWriter({ ...deps, lasting }, owner, () => attempt.state() === "running");
      writers.set(attempt, writer);
    }
    return writer;
  }

  async function perform(
    context: OperationContext,
    { request }: Request,
    operation: SeriesOperation,
  ): Promise<unknown> {
    const patience = patienceOf(context.attempt);
    const from = { objects: deps.objects, link: context.link, log: deps.log, patience };
    if (operation.op === "dataset") return openDataset(from, operation.url, deps.bucket);
    if (operation.op === "files") {
      const files = await patience.lasting(() => listDataset(deps.objects, operation.url, deps.bucket));
      return { files };
    }
    const writer = writerOf(context);
    if (operation.op === "series") return writer.choose(operation.name, operation.resume);
    if (operation.op === "report") {
      const stored = await report(context, operation, request);
      return operation.behind ? stored : stored.stored;
    }
    const restored = await restore(from, operation, await writer.readable());
    if (restored?.manifest) writer.loaded(restored.manifest);
    return restored;
  }

  /** A gang's is stored once all its ranks have handed theirs over. */
  async function report(context: OperationContext, operation: ReportOperation, request: number) {
    const { attempt, plan, link, scratch, rank } = context;
    const { directory } = operation;
    const writer = writerOf(context);
    if (!rank)
      return writer.begin({ ...operation, parts: directory === undefined ? [] : [{ scratch, directory }] }, request);
    let reports = gangs.get(attempt);
    if (!reports) {
      reports = createGangReports(writer, rank.worldSize);
      gangs.set(attempt, reports);
      for (const one of returned.get(attempt) ?? []) reports.returned(one);
    }
    return {
      stored: reports.report(
        rank.rank,
        operation,
        request,
        link.far ? { scratch: plan.id, saver: link.far.saver } : { scratch },
      ),
    };
  }

  function ask(context: OperationContext, message: Request, operation: CallOperation, body: Buffer): void {
    const { attempt, link } = context;
    const mine = asking.get(attempt) ?? createAsking(deps.log);
    asking.set(attempt, mine);
    mine.ask(link, message.request, body, (kept) =>
      deps.calls.perform({ ...context, signal: mine.signal }, operation, message, kept),
    );
  }

  async function reply(context: OperationContext, request: number, performed: Promise<unknown>): Promise<void> {
    try {
      const value = await performed;
      // Not awaited: the operations behind it do not wait for what is saved behind them.
      if (isSavedBehind(value)) return void reply(context, request, value.stored);
      const after = isRestored(value) ? value.begin : undefined;
      context.link.send({ type: "reply", request, ok: true, value: isRestored(value) ? value.answer : value });
      after?.();
    } catch (thrown) {
      const error: FabricError = asFabricError(thrown);
      if (error.code === "internal") deps.log.error({ err: thrown, id: context.attempt.id }, "an operation failed");
      context.link.send({ type: "reply", request, ok: false, error: error.toBody() });
    }
  }

  return {
    answer(context, message, body) {
      const { operation } = message;
      if (isCall(operation)) return ask(context, message, operation, body);
      const asker = context.rank ? context.link : context.attempt;
      const before = last.get(asker) ?? Promise.resolve();
      last.set(
        asker,
        before.then(() => reply(context, message.request, perform(context, message, operation))),
      );
    },
    left: (attempt) => asking.get(attempt)?.close(),
    rankReturned(attempt, rank) {
      const reports = gangs.get(attempt);
      if (reports) reports.returned(rank);
      else returned.set(attempt, (returned.get(attempt) ?? new Set()).add(rank));
    },
    ended(attempt) {
      deps.calls.ended(attempt);
      void writers.get(attempt)?.close();
    },
  };
}

type SeriesOperation = Exclude<Operation, CallOperation>;
const CALLS: ReadonlySet<Operation["op"]> = new Set([
  "call",
  "events",
  "map",
  "inputs",
  "results",
  "outcome",
  "status",
  "cancel",
]);
const isCall = (operation: Operation): operation is CallOperation => CALLS.has(operation.op);

const isSavedBehind = (value: unknown): value is { stored: Promise<unknown> } =>
  typeof value === "object" && value !== null && "stored" in value;

const isRestored = (value: unknown): value is { answer: unknown; begin?: () => void } =>
  typeof value === "object" && value !== null && "answer" in value;
