/** Functions that found no room on this node: what is kept free for them, and which busy container is drained for them. */
import type { Clock } from "../core/clock.ts";
import { gangOf } from "../core/gang.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import { type FunctionSpec, request } from "../core/spec.ts";
import type { Container } from "./container-contract.ts";
import { keyOf } from "./container-plan.ts";
import { type Asker, FAIR_AFTER_MS, giver, goesFirst, lacking } from "./fair-share.ts";

export interface Turns {
  /** Why a container that there would be room for has to wait for another function's; undefined when it may start. */
  mustWait(key: FunctionKey, fn: FunctionSpec): string | undefined;
  /** It found no room: drains a container for it when it has less than its share. */
  refused(key: FunctionKey, refused: string): void;
  /** It has its container. */
  served(key: FunctionKey): void;
  /** Who was told to wait may look again. */
  ended(container: string): void;
}

export interface TurnsDeps {
  clock: Clock;
  log: Log;
  /** Of this node, of all functions. */
  containers(): Container[];
  /** Containers in which everything waits for calls. */
  lent(): ReadonlySet<string>;
  /** The function may look for room again. */
  askAgain(key: FunctionKey): void;
}

type Resource = "cpu" | "memory" | "gpu";

interface Waiting extends Asker {
  what: Resource;
  /** When it asked last. */
  at: number;
  /** Containers that are being drained for it, and when that began. */
  promised: Map<string, number>;
}

/** Who does not ask any more needs nothing. Functions with work ask once a second. */
const FORGET_MS = 3_000;
/** An input may take long: after so long another container is drained as well. */
const PROMISE_MS = 5_000;

const amountOf = (fn: FunctionSpec, gpus: number, what: Resource): number =>
  what === "gpu" ? gpus : request(what === "cpu" ? fn.cpu : fn.memory) * gangOf(fn);
const gpusOf = (fn: FunctionSpec): number => (fn.gpu === null ? 0 : Number(fn.gpu.split(":")[1] ?? 1) * gangOf(fn));

/** What a container holds, or a gang. */
export const amountHeld = ({ plan }: Container, what: Resource): number => amountOf(plan.fn, plan.gpus.length, what);

export function createTurns(deps: TurnsDeps): Turns {
  const { clock, log } = deps;
  const waiting = new Map<FunctionKey, Waiting>();

  const keyOfOne = (one: Container): FunctionKey => keyOf(one.plan);
  const living = (): Container[] =>
    deps.containers().filter((one) => one.phase() !== "draining" && one.phase() !== "ended");

  function heldBy(what: Resource): Map<FunctionKey, number> {
    const held = new Map<FunctionKey, number>();
    for (const one of living()) held.set(keyOfOne(one), (held.get(keyOfOne(one)) ?? 0) + amountHeld(one, what));
    return held;
  }

  /** With what is being drained for it. */
  function asker(one: Waiting, held: ReadonlyMap<FunctionKey, number>): Asker {
    const promised = deps.containers().filter(({ id }) => one.promised.has(id));
    const coming = promised.reduce((sum, container) => sum + amountHeld(container, one.what), 0);
    return { ...one, held: (held.get(one.key) ?? 0) + coming };
  }

  function fresh(): Waiting[] {
    for (const [key, { at }] of waiting) if (clock.monotonic() - at > FORGET_MS) waiting.delete(key);
    return [...waiting.values()];
  }

  /** What all other functions hold and this node has free would do: else nothing that ends here helps. */
  const couldFit = (key: FunctionKey, wanted: number, free: number, what: Resource): boolean =>
    deps
      .containers()
      .filter((one) => keyOfOne(one) !== key)
      .reduce((sum, one) => sum + amountHeld(one, what), free) >= wanted;

  function drainFor(one: Waiting, refused: string): void {
    const now = clock.monotonic();
    if (now - one.since < FAIR_AFTER_MS) return;
    if ([...one.promised.values()].some((at) => now - at < PROMISE_MS)) return;
    const held = heldBy(one.what);
    const lent = deps.lent();
    const candidates = living()
      .filter((other) => other.phase() === "ready" && !lent.has(other.id) && amountHeld(other, one.what) > 0)
      // Of GPUs, the ledger names who holds those of the right model.
      .filter((other) => one.what !== "gpu" || refused.includes(` held by ${keyOfOne(other)}`))
      .map((other) => ({
        ...{ id: other.id, key: keyOfOne(other), amount: amountHeld(other, one.what), busy: other.busy() },
        ...{ servesMs: now - other.ready().since, bootMs: other.ready().bootMs },
      }));
    const victim = giver(asker(one, held), held, candidates);
    if (!victim) return;
    one.promised.set(victim.id, now);
    log.info({ container: victim.id, of: victim.key, for: one.key, refused }, "draining a container: fair shares");
    living()
      .find(({ id }) => id === victim.id)
      ?.drain();
  }

  return {
    mustWait(key, fn) {
      if (waiting.size === 0) return undefined;
      for (const one of fresh()) {
        if (one.key === key || amountOf(fn, gpusOf(fn), one.what) === 0) continue;
        const held = heldBy(one.what);
        const self = { key, held: held.get(key) ?? 0, wanted: 0, since: waiting.get(key)?.since ?? clock.monotonic() };
        const first = goesFirst(self, [{ ...one, held: held.get(one.key) ?? 0 }], clock.monotonic());
        if (first) return `what is free is kept for ${first.key}, which has less`;
      }
      return undefined;
    },

    refused(key, refused) {
      const lack = lacking(refused);
      if (!lack || !couldFit(key, lack.wanted, lack.free, lack.what)) return void waiting.delete(key);
      const now = clock.monotonic();
      const known = fresh().find((one) => one.key === key);
      const one: Waiting = known ?? {
        ...{ key, held: 0, wanted: 0, since: now, what: lack.what, at: now },
        promised: new Map(),
      };
      Object.assign(one, { wanted: lack.wanted, what: lack.what, at: now });
      waiting.set(key, one);
      if (!known) clock.after(FAIR_AFTER_MS, () => waiting.get(key) === one && deps.askAgain(key));
      drainFor(one, refused);
    },

    served: (key) => void waiting.delete(key),

    ended(container) {
      for (const one of fresh()) if (one.promised.delete(container)) deps.askAgain(one.key);
    },
  };
}
