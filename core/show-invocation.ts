/** A record as clients see it, over HTTP and inside containers: without bodies, with durations. */
import { type InvocationRecord, invocationOf, isTerminal } from "./invocation.ts";
import { timings } from "./server-timing.ts";
import { calledName, parseVariant } from "./variant.ts";
import { WAITS_FOR_RUNNER, type Wait } from "./wait.ts";

/** How many of its calls an invocation shows; a list by `parent` has more. */
export const CHILDREN_SHOWN = 100;

/** Why a record that has not ended has not, by itself alone: for those who are told of each change of it. */
export function reasonOf({
  state,
  reason,
  awaits,
  container,
  dueAt,
}: Pick<InvocationRecord, "state" | "reason" | "awaits" | "container" | "dueAt">): string {
  if (reason !== undefined && container === undefined) return reason;
  if (state === "queued") return dueAt === undefined ? WAITS_FOR_RUNNER : `due at ${new Date(dueAt).toISOString()}`;
  if (container === undefined) return "waiting for a slot in a container";
  return awaits === undefined ? `running in ${container}` : `running in ${container}; ${awaits}`;
}

/** `children`: ids of the calls it made, `wait`: what explains that it has not ended; where they were looked up. */
export function showInvocation(record: InvocationRecord, children?: string[], wait?: Wait) {
  const { id, app, version, state, generation, attempts, userFaults, platformFaults, cancelRequested } = record;
  const { node, container, series, error, result } = record;
  return {
    id,
    app,
    function: calledName(record),
    version,
    ...(record.variant === undefined ? {} : parseVariant(record.variant)),
    state,
    ...(isTerminal(state) ? {} : (wait ?? { reason: reasonOf(record) })),
    createdAt: iso(record.createdAt)!,
    dueAt: iso(record.dueAt),
    expiresAt: isTerminal(state) ? undefined : iso(record.expiresAt),
    claimedAt: iso(record.claimedAt),
    startedAt: iso(record.startedAt),
    endedAt: iso(record.endedAt),
    finishedAt: iso(record.finishedAt),
    generation,
    attempts,
    userFaults,
    platformFaults,
    cancelRequested,
    node,
    container,
    series,
    webhook: showWebhook(record),
    trigger: record.trigger,
    tick: iso(record.tick),
    redrivenFrom: record.redrivenFrom,
    redrivenAs: record.redrivenAs,
    parent: record.caller && invocationOf(record.caller.id),
    root: record.caller?.root,
    children,
    result: result && { encoding: result.encoding, size: result.size, key: result.key },
    error,
    hasException: record.exception !== undefined,
    inputs: record.map && {
      total: record.map.total,
      done: record.map.done,
      failed: record.map.failed,
      sealed: record.map.sealed,
    },
    timings: { ...timings(record) } as Record<string, number>,
  };
}

function showWebhook({ webhook, delivery, state }: InvocationRecord) {
  if (webhook === undefined) return undefined;
  const url = webhook.split("?")[0]!;
  if (!delivery) return { url, state: isTerminal(state) ? ("pending" as const) : ("waiting" as const), attempts: 0 };
  return { url, ...delivery, nextAt: iso(delivery.nextAt), endedAt: iso(delivery.endedAt) };
}

const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
