/** Gathers what explains a wait: nodes, what runners told of the function's load, and the place in its queue. */

import type { NodeFacts } from "../core/capacity-ledger.ts";
import type { Clock } from "../core/clock.ts";
import { type FunctionKey, functionKey, type InvocationRecord } from "../core/invocation.ts";
import { type FunctionLoad, sumLoads } from "../core/load.ts";
import type { Queue } from "../core/queue.ts";
import type { StateStore } from "../core/state-store.ts";
import { explainWait, type Wait } from "../core/wait.ts";

export interface Fleet {
  nodes: NodeFacts[];
  /** Of each function that a runner serves now, over all nodes. */
  loads: Map<FunctionKey, FunctionLoad>;
}

export interface Waits {
  /** Of records that have not ended. */
  of(record: InvocationRecord): Promise<Wait>;
  /** In the same order. */
  all(records: readonly InvocationRecord[]): Promise<Wait[]>;
  fleet(): Promise<Fleet>;
}

export interface WaitDeps {
  state: Pick<StateStore, "capacity" | "loads">;
  queue: Pick<Queue, "ahead">;
  clock: Clock;
}

/** Runners tell once a second: whoever asks within this time is given the same answer. */
const FRESH_MS = 500;

export function createWaits({ state, queue, clock }: WaitDeps): Waits {
  let known: { at: number; fleet: Promise<Fleet> } | undefined;

  async function look(): Promise<Fleet> {
    const nodes = await state.capacity.nodes();
    const each = new Map<FunctionKey, FunctionLoad[]>();
    for (const loads of await state.loads.read(nodes.map(({ runner }) => runner)))
      for (const [key, load] of Object.entries(loads) as [FunctionKey, FunctionLoad][])
        each.set(key, [...(each.get(key) ?? []), load]);
    return { nodes, loads: new Map([...each].map(([key, all]) => [key, sumLoads(all)])) };
  }

  function fleet(): Promise<Fleet> {
    if (!known || clock.monotonic() - known.at > FRESH_MS) {
      const asked = { at: clock.monotonic(), fleet: look() };
      asked.fleet.catch(() => {
        if (known === asked) known = undefined;
      });
      known = asked;
    }
    return known.fleet;
  }

  /** With the averages of earlier times where nobody has newer ones. */
  async function loadsOf(keys: readonly FunctionKey[], { loads }: Fleet): Promise<Map<FunctionKey, FunctionLoad>> {
    const found = new Map(keys.flatMap((key) => (loads.has(key) ? [[key, loads.get(key)!] as const] : [])));
    const lacking = [...found].filter(([, { runMs, bootMs }]) => runMs === undefined || bootMs === undefined);
    const paces = await state.loads.paces(lacking.map(([key]) => key));
    for (const [at, [key, load]] of lacking.entries())
      found.set(key, { ...load, runMs: load.runMs ?? paces[at]?.runMs, bootMs: load.bootMs ?? paces[at]?.bootMs });
    return found;
  }

  async function all(records: readonly InvocationRecord[]): Promise<Wait[]> {
    if (records.length === 0) return [];
    const now = clock.now();
    const keyOf = ({ app, fn }: InvocationRecord): FunctionKey => functionKey(app, fn);
    const isInQueue = ({ state, dueAt, map }: InvocationRecord): boolean =>
      state === "queued" && !map && !(dueAt !== undefined && dueAt > now);
    const seen = await fleet();
    const [loads, places] = await Promise.all([
      loadsOf([...new Set(records.map(keyOf))], seen),
      Promise.all(records.map((one) => (isInQueue(one) ? queue.ahead(keyOf(one), one) : undefined))),
    ]);
    return records.map((record, at) =>
      explainWait({ now, record, ahead: places[at], nodes: seen.nodes.length, load: loads.get(keyOf(record)) }),
    );
  }

  return { all, fleet, of: async (record) => (await all([record]))[0]! };
}
