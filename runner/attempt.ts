/** One attempt: from its claim over its container to a settled record. `move` is the only place its state changes. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { asFabricError, type ErrorBody, FabricError } from "../core/errors.ts";
import type { FunctionKey, InvocationRecord, Outcome } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { ToShim } from "../core/protocol.ts";
import { type Charge, decideRetry } from "../core/retry.ts";
import type { InvocationStore, QueuedEntry } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import { sendInput } from "./attempt-input.ts";
import type { ShimMessage } from "./channel.ts";
import { findPublished, type Payload, publishResult, spool } from "./publish.ts";
import type { Streams } from "./streams.ts";

export type AttemptState = "waiting" | "running" | "settling" | "ended";
const NEXT: Record<AttemptState, readonly AttemptState[]> = {
  waiting: ["running", "settling"],
  running: ["settling"],
  settling: ["ended"],
  ended: [],
};

/** What an attempt may ask of the container it runs in. */
export interface ContainerLink {
  readonly id: string;
  send(header: ToShim, body?: Buffer): boolean;
  streams(): Streams | undefined;
  /** Ends the container because of this attempt; its neighbours run again without charge. */
  kill(why: string): void;
  bootMs(): number;
  enterMs(): number;
}

/** How a container's end concerns an attempt in it. */
export type Ending = { again: string } | { fault: ErrorBody };

export interface AttemptDeps {
  invocations: InvocationStore;
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
  onResult(message: Extract<ShimMessage, { type: "result" }>, body: Buffer): void;
  onError(message: Extract<ShimMessage, { type: "error" }>, body: Buffer): void;
  cancel(reason: "cancelled" | "timed_out"): void;
  onContainerEnd(ending: Ending): void;
  fault(error: ErrorBody): void;
  giveBack(why: string): void;
  /** The lease is another's: nothing may be published any more. */
  lose(): void;
}

export interface AttemptHooks {
  /** Its slot is free; what follows needs no container. */
  onReleased(): void;
  onEnded(): void;
}

/** A timer may not be longer than this; longer timeouts are armed again. */
const MAX_TIMER_MS = 2_000_000_000;

export function createAttempt(deps: AttemptDeps, claimed: Claimed, hooks: AttemptHooks): LiveAttempt {
  const { invocations, clock, log } = deps;
  const { record } = claimed;
  const me = { id: record.id, generation: record.generation };
  const ownership = new AbortController();
  const claimedAt = clock.monotonic();
  let epoch = record.claimedAt ?? clock.now();
  let state: AttemptState = "waiting";
  let link: ContainerLink | undefined;
  let started: number | undefined;
  let ended: number | undefined;
  let wanted: "cancelled" | "timed_out" | undefined;
  let receiving = false;
  let stopTimer = (): void => {};

  function move(next: AttemptState): void {
    if (!NEXT[state].includes(next)) throw new FabricError("internal", `an attempt cannot go from ${state} to ${next}`);
    state = next;
  }

  /** In Redis' time, which the claim told. */
  const inRedisTime = (monotonic: number | undefined): number | undefined =>
    monotonic === undefined ? undefined : Math.round(epoch + monotonic - claimedAt);
  const moments = () => ({
    container: link?.id,
    startedAt: inRedisTime(started) ?? record.startedAt,
    endedAt: inRedisTime(ended),
    ...(started === undefined ? {} : bootShare(link!, claimedAt, started)),
  });

  function arm(ms: number, act: () => void): void {
    stopTimer();
    stopTimer = clock.after(Math.min(ms, MAX_TIMER_MS), () =>
      ms > MAX_TIMER_MS ? arm(ms - MAX_TIMER_MS, act) : act(),
    );
  }

  /** Leaves the container and does `store` until it is done; whatever happens, the queue's entry goes last. */
  function settle(store: () => Promise<unknown>): void {
    if (state === "settling" || state === "ended") return;
    move("settling");
    ended = clock.monotonic();
    stopTimer();
    hooks.onReleased();
    void run(store);
  }

  async function run(store: () => Promise<unknown>): Promise<void> {
    try {
      await store().catch(async (thrown: unknown) => {
        if (ownership.signal.aborted) return;
        log.error({ err: thrown, ...me }, "an attempt could not be settled as intended");
        await finish({ state: "failed", error: asFabricError(thrown).toBody() });
      });
      await claimed.acknowledge();
      link?.send({ type: "ack", ...me });
    } catch (thrown) {
      // Its lease ends and it is found by the sweeper, as if this runner were gone.
      if (!ownership.signal.aborted) log.error({ err: thrown, ...me }, "an attempt is left to recovery");
    }
    move("ended");
    hooks.onEnded();
  }

  const lasting = <T>(act: () => Promise<T>): Promise<T> =>
    untilDone(act, ownership.signal, (error) => log.warn({ code: error.code, ...me }, "waiting for a store"));

  const finish = (outcome: Outcome): Promise<unknown> => lasting(() => invocations.finish(me, outcome, moments()));

  async function requeue(charge: Charge, why: string): Promise<void> {
    const next = await lasting(() => invocations.requeue(me, charge, why));
    if (typeof next === "object") await deps.offer(next);
  }

  async function succeed(payload: Payload): Promise<void> {
    const mayCommit = (): void => ownership.signal.throwIfAborted();
    const result = await lasting(() => publishResult(deps.objects, me, payload, mayCommit));
    await finish({ state: "succeeded", result });
    if ("file" in payload) await rm(payload.file, { force: true });
  }

  function fault(error: ErrorBody, exception?: Buffer): void {
    const decision = decideRetry(error.code, record);
    if (decision.retry) settle(() => requeue(decision.charge, `trying again after ${error.code}: ${firstLine(error)}`));
    else settle(() => finish({ state: "failed", error, exception }));
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

  const asWanted = (): void => (wanted === "cancelled" ? cancelled() : timedOut());

  function cancel(reason: "cancelled" | "timed_out"): void {
    if (wanted || (state !== "waiting" && state !== "running")) return;
    wanted = reason;
    if (state === "waiting") {
      asWanted();
      return;
    }
    link!.send({ type: "cancel", ...me, reason });
    arm(deps.cancelGraceMs, () => link!.kill(`${record.id} did not end after it was ${reason.replace("_", " ")}`));
  }

  function enter(to: ContainerLink, elapsedMs: number): void {
    link = to;
    move("running");
    started = clock.monotonic() - elapsedMs;
    arm(Math.max(0, record.timeoutMs - elapsedMs), () => cancel("timed_out"));
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
      // The shim sends it again once it is back; if it never is, the container's end decides.
      log.warn({ err: thrown, ...me }, "a result's stream broke");
    } finally {
      receiving = false;
    }
  }

  return {
    ...me,
    claimed,
    state: () => state,
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
        if (state === "running") fault(asFabricError(thrown).toBody());
      });
    },

    adopt(to) {
      epoch = clock.now();
      enter(to, Math.max(0, epoch - (record.startedAt ?? epoch)));
    },

    onResult(message, body) {
      if (state !== "running") return;
      if (message.stream !== undefined) void receive(message.encoding, message.stream);
      else {
        // The frame is a view on the socket's buffer, which must not be kept alive by a small result.
        const payload = { encoding: message.encoding, bytes: Buffer.from(body) };
        settle(() => succeed(payload));
      }
    },

    onError({ error: { code, message, type, traceback } }, body) {
      if (state !== "running") return;
      if (wanted && (code === "cancelled" || code === "timed_out")) return asWanted();
      // Only we cancel; a function that claims it was cancelled raised an exception.
      const told = code === "cancelled" || code === "timed_out" ? "exception" : code;
      const exception = body.length > 0 ? Buffer.from(body) : undefined;
      fault(new FabricError(told, message, { type, traceback }).toBody(), exception);
    },

    cancel,
    onContainerEnd(ending) {
      if (state !== "running") return;
      if (wanted) asWanted();
      else if ("again" in ending) settle(() => requeue("none", ending.again));
      else fault(ending.fault);
    },
    fault: (error) => fault(error),
    giveBack: (why) => settle(() => requeue("none", why)),

    lose() {
      // While it settles, the store's own comparison of generations decides.
      if (state !== "waiting" && state !== "running") return;
      const inside = state === "running";
      ownership.abort(new FabricError("node_lost", "the lease of this attempt is another's"));
      settle(async () => undefined);
      if (inside) link!.kill(`the lease of ${record.id} was lost`);
    },
  };
}

const firstLine = (error: ErrorBody): string => error.message.split("\n")[0]!.slice(0, 200);

/** Of a container that booted before the claim, nothing was waited for. */
function bootShare(link: ContainerLink, claimedAt: number, startedAt: number): { bootMs: number; enterMs: number } {
  const bootMs = Math.max(0, Math.min(link.bootMs(), Math.round(startedAt - claimedAt)));
  return { bootMs, enterMs: Math.min(link.enterMs(), bootMs) };
}
