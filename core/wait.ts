/** Why an invocation that has not ended has not: in words, with its place in the queue and an honest estimate. Pure. */
import type { InvocationRecord } from "./invocation.ts";
import type { FunctionLoad } from "./load.ts";
import type { MapCounts } from "./map.ts";

export interface WaitFacts {
  /** Milliseconds since 1970. */
  now: number;
  record: Pick<
    InvocationRecord,
    "state" | "reason" | "awaits" | "isParked" | "container" | "dueAt" | "startedAt" | "cancelRequested" | "map"
  >;
  /** Entries before it in its function's queue; absent when it is not in there. */
  ahead?: number;
  /** Nodes that are there. */
  nodes: number;
  /** Of its function, over all nodes, with the averages of earlier days where there are none of now; absent: nobody serves it now. */
  load?: FunctionLoad;
}

export interface Wait {
  reason: string;
  /** Entries before it. */
  ahead?: number;
  /** Until it runs; absent when unknown. */
  estimateMs?: number;
}

/** What the runner notes for an attempt that waits for its container. */
export const STARTING = "starting a container";
export const NO_NODE = "no node is there: start a runner (`fabric up`)";
export const WAITS_FOR_RUNNER = "waiting for a runner to take it";

export function explainWait(facts: WaitFacts): Wait {
  const { record, now } = facts;
  if (record.state === "running" && record.container !== undefined) return { reason: runningReason(facts) };
  if (record.state === "queued" && record.dueAt !== undefined && record.dueAt > now) return delayed(facts);
  if (record.state === "queued" && record.isParked) return { reason: record.reason! };
  if (record.map) return { reason: mapReason(record.map, facts) };
  if (facts.nodes === 0) return { reason: NO_NODE, ahead: facts.ahead };
  const wait = record.state === "queued" ? queued(facts) : claimed(facts);
  // Why it is queued again stays worth knowing while it waits.
  const before = record.state === "queued" ? record.reason : undefined;
  return before === undefined ? wait : { ...wait, reason: `${before}; ${wait.reason}` };
}

function runningReason({ record, now, load }: WaitFacts): string {
  const { container, startedAt, cancelRequested, awaits } = record;
  const since = startedAt === undefined ? "" : ` for ${duration(now - startedAt)}`;
  const usual = load?.runMs === undefined ? "" : ` (inputs take ${duration(load.runMs)})`;
  const more = awaits === undefined ? "" : `; ${awaits}`;
  return `${cancelRequested ? "being cancelled" : "running"} in ${container}${since}${usual}${more}`;
}

/** Its inputs run as slices, each with a wait of its own; together they have only progress. */
function mapReason({ total, done, failed, sealed }: MapCounts, { record, nodes, load }: WaitFacts): string {
  const open = sealed ? "" : ", more may come";
  const progress = `${done} of ${total} inputs done${failed > 0 ? `, ${failed} failed` : ""}${open}`;
  if (record.cancelRequested) return `being cancelled: ${progress}`;
  if (nodes === 0) return `${progress}; ${NO_NODE}`;
  if (!load || done === total) return progress;
  if (load.slots > 0) return `${progress}; ${load.busy}/${load.slots} slots busy`;
  return `${progress}; ${load.booting > 0 ? `${STARTING}${bootText(load)}` : (load.missing ?? WAITS_FOR_RUNNER)}`;
}

function delayed({ record, now, ahead }: WaitFacts): Wait {
  const left = record.dueAt! - now;
  const due = new Date(record.dueAt!).toISOString();
  const reason =
    record.reason === undefined ? `due in ${duration(left)}, at ${due}` : `${record.reason}; ${duration(left)} left`;
  return { reason, ahead, estimateMs: left };
}

/** Taken by a runner, without a slot. */
function claimed({ record, load }: WaitFacts): Wait {
  if (record.reason !== undefined && record.reason !== STARTING) return { reason: record.reason, ahead: 0 };
  if (record.reason === STARTING || !load || load.booting > 0 || load.slots === 0)
    return { reason: `${STARTING}${bootText(load)}`, ahead: 0, estimateMs: load?.bootMs };
  return slotWait(load, 0);
}

function queued({ load, ahead }: WaitFacts): Wait {
  if (!load || ahead === undefined) return { reason: WAITS_FOR_RUNNER, ahead };
  if (load.slots > 0) return slotWait(load, ahead);
  const place = ahead > 0 ? `, ${ahead} ahead` : "";
  if (load.booting === 0) return { reason: `${load.missing ?? WAITS_FOR_RUNNER}${place}`, ahead };
  const rounds = load.bootingSlots === 0 ? undefined : Math.floor(ahead / load.bootingSlots);
  const inputs = rounds === 0 ? 0 : rounds === undefined || load.runMs === undefined ? undefined : rounds * load.runMs;
  const estimateMs = load.bootMs === undefined || inputs === undefined ? undefined : load.bootMs + inputs;
  const about = ahead > 0 ? `, ${aboutText(estimateMs)}` : "";
  return { reason: `${STARTING}${bootText(load)}${place}${about}`, ahead, estimateMs };
}

/** Slots free up one by one: of `slots` that are busy at different points of their inputs, one every `runMs / slots`. */
function slotWait(load: FunctionLoad, ahead: number): Wait {
  const { slots, busy, waiting, runMs, missing } = load;
  const before = ahead + waiting - (slots - busy) + 1;
  const estimateMs = before <= 0 ? 0 : runMs === undefined ? undefined : (before * runMs) / slots;
  if (before <= 0) return { reason: `about to be taken: ${busy}/${slots} slots busy`, ahead, estimateMs };
  const takes = runMs === undefined ? "" : ` (inputs take ${duration(runMs)})`;
  const more = missing === undefined ? "" : `; no further container: ${missing}`;
  const place = ahead === 0 ? "next in line" : `${ahead} ahead`;
  return {
    reason: `waiting for a slot: ${busy}/${slots} busy, ${place}, ${aboutText(estimateMs)}${takes}${more}`,
    ahead,
    estimateMs,
  };
}

/** What is said where nobody knows. */
const UNKNOWN_SECONDS = 5;
const LONGEST_SECONDS = 60;

/** Until a runner has taken so many entries, for `Retry-After`: whole seconds, a minute at most. */
export function drainSeconds(load: FunctionLoad | undefined, entries: number): number {
  if (!load || load.slots === 0 || load.runMs === undefined) return UNKNOWN_SECONDS;
  return Math.min(LONGEST_SECONDS, Math.max(1, Math.ceil((entries * load.runMs) / load.slots / 1000)));
}

const aboutText = (ms: number | undefined): string =>
  ms === undefined ? "for how long is unknown: no input has ended yet" : `about ${duration(ms)}`;

const bootText = (load: FunctionLoad | undefined): string =>
  load?.bootMs === undefined ? "" : ` (boot takes about ${duration(load.bootMs)})`;

/** Two digits are as much as an average is worth. */
export function duration(ms: number): string {
  const left = Math.max(0, ms);
  if (left < 950) return `${Number(left.toPrecision(2))} ms`;
  const seconds = left / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3_600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} days`;
}
