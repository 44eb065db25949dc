/** What every attempt has: an owner, one state that only `move` changes, one timer, and one settlement. */
import type { Clock } from "../core/clock.ts";
import { type ErrorBody, FabricError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Attempt } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { AttemptHooks, AttemptState, Claimed } from "./attempt.ts";
import type { ContainerLink } from "./container-contract.ts";

const NEXT: Record<AttemptState, readonly AttemptState[]> = {
  waiting: ["running", "settling"],
  running: ["settling"],
  settling: ["ended"],
  ended: [],
};

/** A timer may not be longer than this; longer timeouts are armed again. */
const MAX_TIMER_MS = 2_000_000_000;

export interface AttemptLife {
  readonly me: Attempt;
  state(): AttemptState;
  move(next: AttemptState): void;
  /** Leaves the container and does `store` until it is done; whatever happens, the queue's entry goes last. */
  settle(store: () => Promise<unknown>): void;
  /** The lease is another's: nothing is stored any more. */
  lose(): void;
  /** Sets the one timer anew. */
  arm(ms: number, act: () => void): void;
  /** Repeats through outages of a store for as long as the attempt is ours. */
  lasting<T>(act: () => Promise<T>): Promise<T>;
  /** Monotonic; when it left its container. */
  endedAt(): number | undefined;
  /** Throws once the lease is another's. */
  mayCommit(): void;
}

export interface LifeHooks extends Pick<AttemptHooks, "onReleased" | "onEnded"> {
  /** It could not be settled as intended. */
  otherwise(thrown: unknown): Promise<unknown>;
  /** All of it is stored. */
  onStored(): Promise<unknown> | undefined;
}

export function createLife(
  { clock, log }: { clock: Clock; log: Log },
  { record, acknowledge }: Claimed,
  hooks: LifeHooks,
): AttemptLife {
  const me = { id: record.id, generation: record.generation };
  const ownership = new AbortController();
  let state: AttemptState = "waiting";
  let ended: number | undefined;
  let stopTimer = (): void => {};

  function move(next: AttemptState): void {
    if (!NEXT[state].includes(next)) throw new FabricError("internal", `an attempt cannot go from ${state} to ${next}`);
    state = next;
  }

  function arm(ms: number, act: () => void): void {
    stopTimer();
    stopTimer = clock.after(Math.min(ms, MAX_TIMER_MS), () =>
      ms > MAX_TIMER_MS ? arm(ms - MAX_TIMER_MS, act) : act(),
    );
  }

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
        await hooks.otherwise(thrown);
      });
      await acknowledge();
      await hooks.onStored();
    } catch (thrown) {
      // Its lease ends and it is found by the sweeper, as if this runner were gone.
      if (!ownership.signal.aborted) log.error({ err: thrown, ...me }, "an attempt is left to recovery");
    }
    move("ended");
    hooks.onEnded();
  }

  return {
    me,
    state: () => state,
    move,
    settle,
    arm,
    endedAt: () => ended,
    mayCommit: () => ownership.signal.throwIfAborted(),
    lasting: (act) =>
      untilDone(act, ownership.signal, (error) => log.warn({ code: error.code, ...me }, "waiting for a store")),
    lose() {
      ownership.abort(new FabricError("node_lost", "the lease of this attempt is another's"));
      settle(async () => undefined);
    },
  };
}

/** What ends an input that may run only once, where others would be queued again. */
export const onlyOnce = (why: string): ErrorBody =>
  new FabricError("container_killed", `${why}, and an at_most_once function is not tried again`).toBody();

/** Of a container that booted before the claim, nothing was waited for. */
export function bootShare(
  link: ContainerLink,
  claimedAt: number,
  startedAt: number,
): { bootMs: number; enterMs: number } {
  const bootMs = Math.max(0, Math.min(link.bootMs(), Math.round(startedAt - claimedAt)));
  return { bootMs, enterMs: Math.min(link.enterMs(), bootMs) };
}
