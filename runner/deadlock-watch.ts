/** Looks now and then whether calls wait for room that only those who wait for them hold, and gives one of them up. */
import type { Clock } from "../core/clock.ts";
import { deadlocked, type Needs, type WaitGraph } from "../core/deadlock.ts";
import { FabricError } from "../core/errors.ts";
import { type InvocationRecord, invocationOf, isTerminal } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Registry } from "../core/registry.ts";
import type { StateStore } from "../core/state-store.ts";
import { calledName, parseVariant, servedFunction, specName } from "../core/variant.ts";
import type { LiveAttempt } from "./attempt.ts";
import { capacityRequest } from "./container-plan.ts";
import type { Lending } from "./lending.ts";
import type { Waits } from "./waits.ts";

export interface DeadlockDeps {
  state: Pick<StateStore, "capacity" | "invocations" | "maps">;
  registry: Pick<Registry, "version">;
  lending: Lending;
  waits: Waits;
  attempts(): Iterable<LiveAttempt>;
  clock: Clock;
  log: Log;
}

const LOOK_MS = 2_000;
/** A call that waits for less long is most likely just about to run. */
const PATIENCE_MS = 3_000;
/** Calls that one look asks for, and of those that are waited for here, before there is any. */
const MOST = 1_000;
const SUSPECTS = 100;
/** Of a chain, so many callers are named. */
const NAMED = 8;

export function watchForDeadlocks(deps: DeadlockDeps): { start(): void; stop(): void; look(): Promise<void> } {
  const { state, lending, waits, clock, log } = deps;
  let stopTimer = (): void => {};
  let stopped = false;

  /** Whether something that has been waited for here for a while is not even running. */
  async function isDue(): Promise<boolean> {
    const suspects = new Set<string>();
    for (const attempt of deps.attempts()) {
      const { calls, since } = waits.of(attempt);
      if (clock.monotonic() - since > PATIENCE_MS) for (const id of calls) suspects.add(id);
    }
    for (const id of [...suspects].slice(0, SUSPECTS)) {
      const record = await state.invocations.get(id);
      if (record && !isTerminal(record.state) && (await needsOf(record)) !== "running") return true;
    }
    return false;
  }

  async function needsOf(record: InvocationRecord): Promise<Needs | "running"> {
    const isQueued = record.map ? !(await state.maps.runs(record.id)) : record.state === "queued";
    const manifest = isQueued ? await deps.registry.version(record.app, record.version) : undefined;
    const spec = manifest?.functions.find(({ name }) => name === specName(record.fn));
    const variant = record.variant === undefined ? undefined : parseVariant(record.variant);
    const fn = spec && servedFunction(spec, record.fn, variant);
    if (!fn || !manifest) return "running";
    const holders = record.isParked ? await state.invocations.keyHolders(record.id) : [];
    return { ...capacityRequest("", "", fn, manifest), ...(holders.length > 0 ? { holders } : {}) };
  }

  async function graph(records: Map<string, InvocationRecord>): Promise<WaitGraph> {
    const nodes = await state.capacity.nodes();
    const bookings = (
      await Promise.all(
        nodes.map(async ({ id: node }) => (await state.capacity.bookings(node)).map((one) => ({ ...one, node }))),
      )
    ).flat();
    const ids = new Set(bookings.flatMap(({ waits: lines = [] }) => lines.flatMap((line) => line.split(" ").slice(1))));
    const calls = new Map<string, Needs | "running">();
    for (const id of [...ids].slice(0, MOST)) {
      const record = await state.invocations.get(id);
      if (!record || isTerminal(record.state)) continue;
      records.set(id, record);
      calls.set(id, await needsOf(record));
    }
    return { nodes, bookings, calls };
  }

  /** The youngest one: the others have room again once its caller goes on. Every runner comes to the same one. */
  async function look(): Promise<void> {
    const records = new Map<string, InvocationRecord>();
    const found = await graph(records);
    const chosen = deadlocked(found).at(-1);
    const record = chosen === undefined ? undefined : records.get(chosen);
    if (!record || !isOurs(record)) return;
    const needs = found.calls.get(record.id) as Needs;
    const error = new FabricError("call_deadlock", await tell(record, needs));
    log.warn({ id: record.id, error: error.message }, "giving up a call that waits for its own callers");
    await state.invocations.giveUp(record.id, error.toBody());
  }

  async function lookIfDue(): Promise<void> {
    if (!(await isDue())) return;
    // What waits has to be in the ledger, where all runners see it.
    await lending.lend();
    await look();
  }

  const isOurs = ({ id }: InvocationRecord): boolean => {
    for (const attempt of deps.attempts()) if (waits.of(attempt).calls.includes(id)) return true;
    return false;
  };

  async function tell(record: InvocationRecord, { memoryBytes, gpu, holders }: Needs): Promise<string> {
    const chain = [nameOf(record)];
    for (let caller = record.caller; caller && chain.length <= NAMED; ) {
      const above = await state.invocations.get(invocationOf(caller.id));
      if (!above) break;
      chain.push(nameOf(above));
      caller = above.caller;
    }
    const depth = record.caller?.depth ?? 0;
    const more = depth >= chain.length ? `, and ${depth + 1 - chain.length} more above` : "";
    const room = `${Math.round(memoryBytes / 2 ** 20)} MiB of memory${gpu ? ` and ${gpu.count} ${gpu.model} GPU` : ""}`;
    const needs = holders ? `its turn among the calls with key ${record.key}` : room;
    return `${chain[0]} needs ${needs} that calls hold which wait for it: it was called by ${chain.slice(1).join(", called by ")}${more}`;
  }

  function schedule(): void {
    stopTimer = clock.after(LOOK_MS, () => {
      lookIfDue()
        .catch((err: unknown) => log.warn({ err }, "a look for deadlocks failed"))
        .finally(() => {
          if (!stopped) schedule();
        });
    });
  }

  return {
    start: schedule,
    stop() {
      stopped = true;
      stopTimer();
    },
    look,
  };
}

const nameOf = (record: InvocationRecord): string => `${record.app}/${calledName(record)} (${record.id})`;
