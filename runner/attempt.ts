/** One attempt: from its claim over its container to a settled record. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ChunkStore } from "../core/chunk-store.ts";
import type { Clock } from "../core/clock.ts";
import { asFabricError, type ErrorBody, FabricError } from "../core/errors.ts";
import type { FunctionKey, InvocationRecord, Outcome } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { type Charge, decideRetry, retryReason } from "../core/retry.ts";
import type { InvocationStore, QueuedEntry } from "../core/state-store.ts";
import { sendInput } from "./attempt-input.ts";
import { bootShare, createLife, onlyOnce } from "./attempt-life.ts";
import type { ShimMessage } from "./channel.ts";
import type { ContainerLink, Ending } from "./container-contract.ts";
import { findPublished, type Payload, publishResult, spool } from "./publish.ts";
import { createYields, type Yields } from "./yields.ts";

export type AttemptState = "waiting" | "running" | "settling" | "ended";

export interface AttemptDeps {
  invocations: InvocationStore;
  chunks: ChunkStore;
  objects: ObjectStore;
  /** Puts a requeued entry into the queue and clears its outbox entry. */
  offer(entry: QueuedEntry): Promise<void>;
  clock: Clock;
  log: Log;
  spoolDir: string;
  cancelGraceMs: number;
}

export interface Claimed {
  key: FunctionKey;
  record: InvocationRecord;
  acknowledge(): Promise<void>;
  /** An earlier process of this runner claimed it, and may have given it to a container. */
  mayHaveRun?: boolean;
}

export interface LiveAttempt {
  readonly id: string;
  readonly generation: number;
  readonly claimed: Claimed;
  state(): AttemptState;
  /** Monotonic; when the input went to its container. */
  startedAt(): number | undefined;
  container(): string | undefined;
  /** Moments of now, for a look at a running attempt. */
  facts(): { container?: string; startedAt?: number; bootMs?: number };
  /** Answers whether an earlier attempt had published the result already; the attempt settles itself then. */
  settledBefore(): Promise<boolean>;
  begin(link: ContainerLink): void;
  /** It runs already: the runner was restarted. */
  adopt(link: ContainerLink): void;
  onYield(message: Extract<ShimMessage, { type: "yield" }>, body: Buffer): void;
  onResult(message: Extract<ShimMessage, { type: "result" }>, body: Buffer): void;
  /** `details`: what else there is to say, such as which rank it was. */
  onError(message: Extract<ShimMessage, { type: "error" }>, body: Buffer, details?: Record<string, unknown>): void;
  /** Only slices have these. */
  onResults?(message: Extract<ShimMessage, { type: "results" }>, body: Buffer): void;
  onTrimmed?(message: Extract<ShimMessage, { type: "trimmed" }>): void;
  cancel(reason: "cancelled" | "timed_out"): void;
  /** While it runs: its code ends as if it were cancelled, and what is told and charged is this fault. */
  giveUp(error: ErrorBody): void;
  onContainerEnd(ending: Ending): void;
  fault(error: ErrorBody): void;
  giveBack(why: string): void;
  /** The lease is another's: nothing may be published any more. */
  lose(): void;
}

export interface AttemptHooks {
  /** So many inputs of a slice have ended, after so many milliseconds. */
  onInputs(count: number, ms: number): void;
  /** Its slot is free; what follows needs no container. */
  onReleased(): void;
  onEnded(): void;
}

export function createAttempt(deps: AttemptDeps, claimed: Claimed, hooks: AttemptHooks): LiveAttempt {
  const { invocations, clock, log } = deps;
  const { record } = claimed;
  const claimedAt = clock.monotonic();
  let epoch = record.claimedAt ?? clock.now();
  let link: ContainerLink | undefined;
  let started: number | undefined;
  let wanted: "cancelled" | "timed_out" | undefined;
  let givenUp: ErrorBody | undefined;
  let receiving = false;
  let yields: Yields | undefined;
  const life = createLife(deps, claimed, {
    ...hooks,
    otherwise: (thrown) => finish({ state: "failed", error: asFabricError(thrown).toBody() }),
    onStored: () => {
      link?.send({ type: "ack", ...me });
      return yields?.archive();
    },
  });
  const { me, state, lasting } = life;

  /** In Redis' time, which the claim told. */
  const inRedisTime = (monotonic: number | undefined): number | undefined =>
    monotonic === undefined ? undefined : Math.round(epoch + monotonic - claimedAt);
  const moments = () => ({
    container: link?.id,
    startedAt: inRedisTime(started) ?? record.startedAt,
    endedAt: inRedisTime(life.endedAt()),
    ...(started === undefined ? {} : bootShare(link!, claimedAt, started)),
  });

  const settle = (store: () => Promise<unknown>): void =>
    life.settle(() => (yields ? yields.drained().then(store) : store()));

  const finish = (outcome: Outcome): Promise<unknown> => lasting(() => invocations.finish(me, outcome, moments()));

  async function requeue(charge: Charge, why: string, delayMs?: number): Promise<void> {
    const next = await lasting(() => invocations.requeue(me, charge, why, delayMs, moments()));
    if (typeof next === "object") await deps.offer(next);
  }

  async function succeed(payload: Payload): Promise<void> {
    const result = await lasting(() => publishResult(deps.objects, me, payload, life.mayCommit, record.ttlSeconds));
    await finish({ state: "succeeded", result });
    if ("file" in payload) await rm(payload.file, { force: true });
  }

  function fault(error: ErrorBody, exception?: Buffer, mayRetry = true): void {
    const decision = mayRetry ? decideRetry(error.code, record) : ({ retry: false } as const);
    if (decision.retry) settle(() => requeue(decision.charge, retryReason(decision, record, error), decision.delayMs));
    else settle(() => finish({ state: "failed", error, exception }));
  }

  /** No fault of its own; but what may have run, and may run only once, has failed. */
  function again(why: string): void {
    if (record.atMostOnce && (state() === "running" || claimed.mayHaveRun)) fault(onlyOnce(why));
    else settle(() => requeue("none", why));
  }

  const cancelled = (): void =>
    settle(() =>
      finish({ state: "cancelled", error: new FabricError("cancelled", "The invocation was cancelled.").toBody() }),
    );

  const timedOut = (): void =>
    fault(
      new FabricError(
        "timed_out",
        `The function ran longer than its timeout of ${record.timeoutMs / 1000} s.`,
      ).toBody(),
    );

  function asWanted(): void {
    if (givenUp) fault(givenUp);
    else if (wanted === "cancelled") cancelled();
    else timedOut();
  }

  function cancel(reason: "cancelled" | "timed_out"): void {
    if (wanted || (state() !== "waiting" && state() !== "running")) return;
    wanted = reason;
    if (state() === "waiting") {
      asWanted();
      return;
    }
    link!.send({ type: "cancel", ...me, reason });
    life.arm(deps.cancelGraceMs, () => link!.kill(`${record.id} did not end after it was ${reason.replace("_", " ")}`));
  }

  function enter(to: ContainerLink, elapsedMs: number): void {
    link = to;
    life.move("running");
    started = clock.monotonic() - elapsedMs;
    life.arm(Math.max(0, record.timeoutMs - elapsedMs), () => cancel("timed_out"));
  }

  async function receive(encoding: Payload["encoding"], stream: number): Promise<void> {
    const streams = link!.streams();
    if (!streams || receiving) return;
    receiving = true;
    try {
      const file = join(deps.spoolDir, `${me.id}-${me.generation}`);
      const payload = await spool(streams.receive(stream), file, encoding);
      settle(() => succeed(payload));
    } catch (thrown) {
      const error = asFabricError(thrown);
      if (error.code === "result_too_large") return fault(error.toBody());
      // The shim sends it again once it is back; if it never is, the container's end decides.
      log.warn({ err: thrown, ...me }, "a result's stream broke");
    } finally {
      receiving = false;
    }
  }

  return {
    ...me,
    claimed,
    state,
    startedAt: () => started,
    container: () => link?.id,
    facts: () => ({ ...moments(), endedAt: undefined }),

    async settledBefore() {
      if (record.attempts < 2) return false;
      const result = await lasting(() => findPublished(deps.objects, me.id));
      if (result) settle(() => finish({ state: "succeeded", result }));
      return result !== undefined;
    },

    begin(to) {
      enter(to, 0);
      sendInput(deps.objects, record, to).catch((thrown: unknown) => {
        if (state() === "running") fault(asFabricError(thrown).toBody());
      });
    },

    adopt(to) {
      epoch = clock.now();
      enter(to, Math.max(0, epoch - (record.startedAt ?? epoch)));
    },

    onYield({ seq, encoding }, body) {
      if (state() !== "running") return;
      const onStored = (upTo: number): void => void link!.send({ type: "yield.ack", ...me, seq: upTo });
      const onFailure = (thrown: unknown): void => fault(asFabricError(thrown).toBody());
      yields ??= createYields({ ...deps, lasting, onStored, onFailure }, me, seq);
      yields.accept(seq, { encoding, body });
    },

    onResult(message, body) {
      if (state() !== "running") return;
      if (message.stream !== undefined) void receive(message.encoding, message.stream);
      else {
        // The frame is a view on the socket's buffer, which must not be kept alive by a small result.
        const payload = { encoding: message.encoding, bytes: Buffer.from(body) };
        settle(() => succeed(payload));
      }
    },

    onError({ error: { code, message, type, traceback, retryable } }, body, details) {
      if (state() !== "running") return;
      if (wanted && (code === "cancelled" || code === "timed_out")) return asWanted();
      // Only we cancel; a function that claims it was cancelled raised an exception.
      const told = code === "cancelled" || code === "timed_out" ? "exception" : code;
      const exception = body.length > 0 ? Buffer.from(body) : undefined;
      fault(new FabricError(told, message, { type, traceback, ...details }).toBody(), exception, retryable !== false);
    },

    cancel,
    giveUp(error) {
      if (wanted || state() !== "running") return;
      givenUp = error;
      cancel("cancelled");
    },
    onContainerEnd(ending) {
      if (state() !== "running") return;
      if (wanted) asWanted();
      else if ("again" in ending) again(ending.again);
      else fault(ending.fault);
    },
    fault: (error) => fault(error),
    giveBack: again,

    lose() {
      // While it settles, the store's own comparison of generations decides.
      if (state() !== "waiting" && state() !== "running") return;
      // First, so that its slot is not given to an attempt that would end with it.
      if (state() === "running") link!.kill(`the lease of ${record.id} was lost`);
      life.lose();
    },
  };
}
