/** Answers what user code asks of its runner through the shim: series, reports and restores. */
import { asFabricError, type FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { FromShim } from "../core/protocol.ts";
import type { StateStore } from "../core/state-store.ts";
import type { ContainerLink, LiveAttempt } from "./attempt.ts";
import { type CheckpointOwner, type CheckpointWriter, createCheckpointWriter } from "./checkpoint.ts";
import type { ContainerPlan } from "./container-plan.ts";
import { restore } from "./restore.ts";

type Request = Extract<FromShim, { type: "request" }>;

export interface OperationContext {
  attempt: LiveAttempt;
  plan: ContainerPlan;
  link: ContainerLink;
  scratch: string;
}

export interface Operations {
  /** Replies on the link; never throws. */
  answer(context: OperationContext, request: Request): void;
  /** The attempt has ended. */
  forget(attempt: LiveAttempt): void;
}

export interface OperationDeps {
  state: Pick<StateStore, "holds" | "invocations">;
  objects: ObjectStore;
  log: Log;
  runner: string;
  leaseMs: number;
}

export function createOperations(deps: OperationDeps): Operations {
  const writers = new WeakMap<LiveAttempt, CheckpointWriter>();
  /** Operations of one attempt run one after the other. */
  const last = new WeakMap<LiveAttempt, Promise<void>>();

  function writerOf({ attempt, plan, scratch }: OperationContext): CheckpointWriter {
    let writer = writers.get(attempt);
    if (!writer) {
      const { id, generation } = attempt;
      const { app, version } = plan.manifest;
      const { series, startsOver } = attempt.claimed.record;
      const owner: CheckpointOwner = { id, generation, app, fn: plan.fn.name, version, scratch, series, startsOver };
      writer = createCheckpointWriter(deps, owner, () => attempt.state() === "running");
      writers.set(attempt, writer);
    }
    return writer;
  }

  async function perform(context: OperationContext, { operation, request }: Request): Promise<unknown> {
    const writer = writerOf(context);
    if (operation.op === "series") return writer.choose(operation.name, operation.resume);
    if (operation.op === "report") return writer.report(operation, request);
    return restore({ objects: deps.objects, link: context.link, log: deps.log }, operation, await writer.readable());
  }

  async function reply(context: OperationContext, message: Request): Promise<void> {
    const { request } = message;
    try {
      const value = await perform(context, message);
      const after = isRestored(value) ? value.begin : undefined;
      context.link.send({ type: "reply", request, ok: true, value: isRestored(value) ? value.answer : value });
      after?.();
    } catch (thrown) {
      const error: FabricError = asFabricError(thrown);
      if (error.code === "internal") deps.log.error({ err: thrown, id: context.attempt.id }, "an operation failed");
      context.link.send({ type: "reply", request, ok: false, error: { code: error.code, message: error.message } });
    }
  }

  return {
    answer(context, message) {
      const before = last.get(context.attempt) ?? Promise.resolve();
      last.set(
        context.attempt,
        before.then(() => reply(context, message)),
      );
    },
    forget: (attempt) => void writers.delete(attempt),
  };
}

const isRestored = (value: unknown): value is { answer: unknown; begin: () => void } =>
  typeof value === "object" && value !== null && "begin" in value;
