/** A record as clients see it: without bodies, with durations. */
import { z } from "@hono/zod-openapi";
import type { InvocationRecord } from "../core/invocation.ts";
import { isTerminal } from "../core/invocation.ts";
import { reasonOf } from "./answer-outcome.ts";
import { errorSchema } from "./define-route.ts";
import { timings } from "./server-timing.ts";

const moment = z.iso.datetime().optional();

export const invocationSchema = z
  .object({
    id: z.string(),
    app: z.string(),
    function: z.string(),
    version: z.string(),
    state: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]),
    reason: z.string().optional(),
    createdAt: z.iso.datetime(),
    claimedAt: moment,
    startedAt: moment,
    endedAt: moment,
    finishedAt: moment,
    /** Of the latest queue entry or attempt: the fencing token. */
    generation: z.number().int(),
    attempts: z.number().int(),
    userFaults: z.number().int(),
    platformFaults: z.number().int(),
    cancelRequested: z.boolean(),
    node: z.string().optional(),
    container: z.string().optional(),
    series: z.string().optional(),
    result: z.object({ encoding: z.enum(["json", "pickle"]), size: z.number(), key: z.string().optional() }).optional(),
    error: errorSchema.shape.error.optional(),
    hasException: z.boolean(),
    /** Milliseconds. */
    timings: z.record(z.string(), z.number()),
  })
  .openapi("Invocation");

export function showInvocation(record: InvocationRecord): z.infer<typeof invocationSchema> {
  const { id, app, version, state, generation, attempts, userFaults, platformFaults, cancelRequested } = record;
  const { node, container, series, error, result } = record;
  return {
    id,
    app,
    function: record.fn,
    version,
    state,
    reason: isTerminal(state) ? undefined : reasonOf(record),
    createdAt: iso(record.createdAt)!,
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
    result: result && { encoding: result.encoding, size: result.size, key: result.key },
    error,
    hasException: record.exception !== undefined,
    timings: { ...timings(record) } as Record<string, number>,
  };
}

const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
