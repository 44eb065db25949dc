/** Refuses calls of functions whose queue is full: looks at a queue's length now and then, and only near its limit more often. */
import type { Target } from "../core/catalog.ts";
import type { Clock } from "../core/clock.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Outbox } from "../core/outbox.ts";
import type { Queue } from "../core/queue.ts";
import { drainSeconds } from "../core/wait.ts";
import type { Waits } from "./waits.ts";

/** What is known of a queue. */
export interface Seen {
  depth: number;
  /** When the look began, monotonic. */
  at: number;
  /** Calls let through since then, as if all of them waited. */
  since: number;
}

/** `look`: let it through, and find out how things are meanwhile. `ask`: only a look can tell. */
export type Verdict = "pass" | "look" | "ask" | "refuse";

/** Other gateways fill the same queue: what is older is looked at again, beside the call. */
const OLD_MS = 1_000;
/** Callers who come back at once do not cost a look each. */
const FULL_MS = 100;

export function judge({ depth, at, since }: Seen, limit: number, now: number): Verdict {
  const room = limit - depth - since;
  if (room <= 0) return depth >= limit && now - at < FULL_MS ? "refuse" : "ask";
  return since < room && now - at < OLD_MS ? "pass" : "look";
}

export interface QueueLimits {
  /** Throws `queue_full`; answers a promise only where the queue has to be looked at first. */
  admit(target: Target): void | Promise<void>;
}

interface Deps {
  queue: Pick<Queue, "depth">;
  outbox: Pick<Outbox, "waiting">;
  waits: Pick<Waits, "fleet">;
  clock: Clock;
  log: Log;
  /** Of functions that name none. */
  maxQueued: number;
}

const MAX_REMEMBERED = 10_000;

export function createQueueLimits({ queue, outbox, waits, clock, log, maxQueued }: Deps): QueueLimits {
  const known = new Map<FunctionKey, Seen>();
  const looks = new Map<FunctionKey, Promise<void>>();

  /** One at a time for each function, whoever asks. */
  function look(key: FunctionKey, seen: Seen): Promise<void> {
    const before = looks.get(key);
    if (before) return before;
    const [at, earlier] = [clock.monotonic(), seen.since];
    const looking = queue
      .depth(key)
      .then((waiting) => {
        // What was let through just now is on its way into the queue.
        Object.assign(seen, { depth: waiting + outbox.waiting(key), at, since: seen.since - earlier });
      })
      .finally(() => looks.delete(key));
    looks.set(key, looking);
    return looking;
  }

  async function refuse({ app, name, key }: Target, { depth }: Seen, limit: number): Promise<never> {
    const load = (await waits.fleet()).loads.get(key);
    const retryAfterSeconds = drainSeconds(load, Math.max(1, depth - limit + Math.ceil(limit / 10)));
    return fail("queue_full", `${depth} calls of ${app}/${name} wait, and ${limit} may: nothing was accepted`, {
      waiting: depth,
      limit,
      retryAfterSeconds,
    });
  }

  async function ask(target: Target, seen: Seen, limit: number): Promise<void> {
    await look(target.key, seen);
    if (seen.depth + seen.since >= limit) return refuse(target, seen, limit);
    seen.since++;
  }

  return {
    admit(target) {
      const { key, spec } = target;
      const limit = spec.max_queued ?? maxQueued;
      let seen = known.get(key);
      if (!seen) {
        if (known.size >= MAX_REMEMBERED) known.clear();
        seen = { depth: 0, at: Number.NEGATIVE_INFINITY, since: 0 };
        known.set(key, seen);
      }
      const verdict = judge(seen, limit, clock.monotonic());
      if (verdict === "refuse") return refuse(target, seen, limit);
      if (verdict === "ask") return ask(target, seen, limit);
      // A look that begins here does not find this call.
      if (verdict === "look")
        look(key, seen).catch((error: unknown) =>
          log.debug({ key, error: asFabricError(error).message }, "a queue's length was not looked at"),
        );
      seen.since++;
    },
  };
}
