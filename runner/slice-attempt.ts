/** One attempt of a map's slice: inputs that one slot runs one after the other, each with an outcome and a budget of its own. */
import { asFabricError, type ErrorBody, FabricError } from "../core/errors.ts";
import { RECORD_INLINE_BYTES } from "../core/invocation.ts";
import { blockKey, encodeBlock, MAX_LINE_BYTES } from "../core/map.ts";
import type { Again, MapStore } from "../core/map-store.ts";
import { decideRetry, retryReason } from "../core/retry.ts";
import type { AttemptDeps, AttemptHooks, Claimed, LiveAttempt } from "./attempt.ts";
import { createLife, onlyOnce } from "./attempt-life.ts";
import type { ContainerLink, Ending } from "./container-contract.ts";
import type { Pages } from "./pages.ts";
import { errorLine, inputOf, resultLine } from "./single-input.ts";
import { collectOutcomes } from "./slice-outcomes.ts";

export interface SliceDeps extends AttemptDeps {
  maps: MapStore;
  pages: Pages;
}

/** A slice that takes longer than several were meant to holds inputs that others could run. */
const SLOW_MS = 250;
/** Outcomes held until the slice ends. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

export function createSliceAttempt(deps: SliceDeps, claimed: Claimed, hooks: AttemptHooks): LiveAttempt {
  const { clock, log } = deps;
  const { record } = claimed;
  const slice = record.slice!;
  const life = createLife(deps, claimed, {
    ...hooks,
    otherwise(thrown) {
      if (record.atMostOnce) throw thrown;
      return lasting(() => deps.invocations.requeue(me, "platform", "its outcomes could not be stored"));
    },
    onStored() {
      link?.send({ type: "ack", ...me });
      return undefined;
    },
  });
  const { me, lasting } = life;
  const outcomes = collectOutcomes(slice.first, record);
  let end = slice.first + slice.count;
  let link: ContainerLink | undefined;
  let started: number | undefined;
  let wanted: "cancelled" | "timed_out" | undefined;
  /** What is said to have ended the input that was told to end. */
  let givenUp: ErrorBody | undefined;
  let trimming = false;
  let splitting: Promise<void> = Promise.resolve();
  let stopSlowTimer = (): void => {};

  const left = (): number => end - outcomes.next();
  /** The inputs without an outcome, to run again at nobody's charge. */
  const rest = (why: string, solo = false): Again[] =>
    left() > 0 ? [{ first: outcomes.next(), count: left(), charge: "none", why, solo, delayMs: 0 }] : [];

  /** Stores the outcomes so far and queues what is to run again. */
  function finish(more: Again[]): void {
    stopSlowTimer();
    life.settle(() => store(more));
  }

  async function store(more: Again[]): Promise<void> {
    // What was given back must be queued before this slice's record goes.
    await splitting;
    const { lines, succeeded, failed, again } = outcomes.close();
    const head = { first: slice.first, count: outcomes.next() - slice.first };
    const key = lines.length > RECORD_INLINE_BYTES ? blockKey(me.id, me.generation) : undefined;
    if (key) await lasting(() => deps.objects.put(key, lines, { contentType: "application/x-ndjson" }));
    life.mayCommit();
    const block = lines.length > 0 ? encodeBlock({ ...head, key }, key ? undefined : lines) : undefined;
    const done = await lasting(() => deps.maps.finish(me, { block, succeeded, failed, again: [...again, ...more] }));
    if (done !== "stale") for (const entry of done.entries) await deps.offer(entry);
  }

  /** Before a container has it, all inputs share its fate. */
  function requeue(charge: Again["charge"], why: string): void {
    life.settle(async () => {
      const next = await lasting(() => deps.invocations.requeue(me, charge, why));
      if (typeof next === "object") await deps.offer(next);
    });
  }

  function fault(error: ErrorBody): void {
    if (left() > 0) outcomes.fault(error, left());
    finish([]);
  }

  /** No fault of theirs; but what may have run, and may run only once, has failed. */
  function again(why: string): void {
    if (record.atMostOnce) fault(onlyOnce(why));
    else finish(rest(why));
  }

  function cancel(reason: "cancelled" | "timed_out"): void {
    if (wanted || (life.state() !== "waiting" && life.state() !== "running")) return;
    if (life.state() === "waiting") {
      finish(rest("cancelled"));
      return;
    }
    wanted = reason;
    const index = reason === "timed_out" ? { index: outcomes.next() } : {};
    link!.send({ type: "cancel", ...me, reason, ...index });
    life.arm(deps.cancelGraceMs, () => link!.kill(`${me.id} did not end after it was ${reason.replace("_", " ")}`));
  }

  /** Each input has its own time, from the outcome of the one before it. */
  function armTimeout(): void {
    if (wanted !== "cancelled") life.arm(record.timeoutMs, () => cancel("timed_out"));
  }

  function enter(to: ContainerLink, elapsedMs: number): void {
    link = to;
    life.move("running");
    started = clock.monotonic() - elapsedMs;
    armTimeout();
    stopSlowTimer = clock.after(SLOW_MS, trim);
  }

  function trim(): void {
    if (trimming || left() < 2 || life.state() !== "running") return;
    trimming = link!.send({ type: "trim", ...me });
  }

  /** Nothing may run twice: until the split is stored these inputs are still ours, and not started. */
  function giveBackFrom(next: number): void {
    if (next >= end) return;
    end = next;
    const split = async (): Promise<void> => {
      const entry = await lasting(() => deps.maps.split(me, next - slice.first));
      if (entry) await deps.offer(entry);
    };
    splitting = split();
    splitting.catch((err: unknown) => log.warn({ err, ...me }, "inputs were not given back"));
  }

  async function sendInputs(to: ContainerLink): Promise<void> {
    const { method, acceptPickle: accept_pickle, timeoutMs: timeout_ms } = record;
    const facts = { ...me, method, accept_pickle, timeout_ms };
    const lines = (count: number) => deps.pages.lines(slice.map, slice.page, slice.first, count);
    const isBatch = to.batches(method);
    const page = await lines(isBatch ? 1 : slice.count);
    // A container that was told of the end before it had the inputs would run them.
    if (wanted) finish(rest(wanted));
    if (life.state() !== "running") return;
    if (isBatch) {
      const { encoding, body } = inputOf(page);
      to.send({ type: "input", ...facts, encoding }, body);
    } else to.send({ type: "inputs", ...facts, first: slice.first }, page);
  }

  /** The outcome of the one input that a batched function was given. */
  function onOnly(line: Buffer): void {
    outcomes.accept(slice.first, line, end, wanted, givenUp);
    finish([]);
  }

  return {
    ...me,
    claimed,
    state: life.state,
    startedAt: () => started,
    container: () => link?.id,
    facts: () => ({ container: link?.id }),
    settledBefore: async () => false,

    begin(to) {
      enter(to, 0);
      if (to.batches(record.method)) giveBackFrom(slice.first + 1);
      sendInputs(to).catch((thrown: unknown) => {
        if (life.state() === "running") fault(asFabricError(thrown).toBody());
      });
    },
    adopt: (to) => enter(to, 0),

    onResults({ first, last, run_ms }, body) {
      if (life.state() !== "running") return;
      const count = outcomes.accept(first, body, end, wanted, givenUp);
      if (count > 0) {
        hooks.onInputs(count, run_ms);
        if (wanted === "timed_out") wanted = givenUp = undefined;
        armTimeout();
      }
      if (last) finish(rest("not started yet"));
      else if (outcomes.bytes() > MAX_HELD_BYTES) trim();
    },

    onTrimmed({ next }) {
      if (life.state() !== "running" || !trimming || next >= end) return;
      if (next < outcomes.next()) throw new FabricError("protocol_violation", "it gives back inputs that have ended");
      giveBackFrom(next);
    },

    onYield: () => {},
    onResult({ encoding, stream }, body) {
      if (life.state() !== "running") return;
      const line = resultLine(slice.first, encoding, body);
      if (stream === undefined && line.length <= MAX_LINE_BYTES) onOnly(line);
      else
        fault(
          new FabricError("result_too_large", `inside a map a result has at most ${MAX_LINE_BYTES} bytes`).toBody(),
        );
    },
    onError({ error }, body) {
      if (life.state() === "running") onOnly(errorLine(slice.first, error, body));
    },
    cancel,
    giveUp(error) {
      if (wanted || life.state() !== "running") return;
      givenUp = error;
      cancel("timed_out");
    },

    onContainerEnd(ending: Ending) {
      if (life.state() !== "running") return;
      if (left() === 0) return finish([]);
      if (wanted === "cancelled") return finish(rest("cancelled"));
      if (wanted === "timed_out") outcomes.fault(givenUp ?? timedOut(record.timeoutMs));
      else if ("fault" in ending) blame(ending.fault);
      again("again" in ending ? ending.again : "another input ended its container");
    },

    fault(error) {
      if (life.state() === "running") return fault(error);
      const decision = decideRetry(error.code, record);
      if (decision.retry) requeue(decision.charge, retryReason(decision, record, error));
      else fault(error);
    },

    giveBack(why) {
      if (life.state() === "running") again(why);
      else if (record.atMostOnce && claimed.mayHaveRun) fault(onlyOnce(why));
      else requeue("none", why);
    },

    lose() {
      if (life.state() !== "waiting" && life.state() !== "running") return;
      stopSlowTimer();
      // First, so that its slot is not given to an attempt that would end with it.
      if (life.state() === "running") link!.kill(`the lease of ${me.id} was lost`);
      life.lose();
    },
  };

  /** Of several inputs without an outcome nobody knows which one ended the container, unless it was ended from outside. */
  function blame(error: ErrorBody): void {
    if (left() === 1 || error.fault === "platform" || record.atMostOnce) outcomes.fault(error, left());
    else finish(rest(`one of ${left()} inputs ended its container: each alone now`, true));
  }
}

const timedOut = (timeoutMs: number): ErrorBody =>
  new FabricError("timed_out", `The function ran longer than its timeout of ${timeoutMs / 1000} s.`).toBody();
