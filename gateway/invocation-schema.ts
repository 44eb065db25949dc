/** The schema of an invocation as replies show it. */
import { z } from "@hono/zod-openapi";
import { errorSchema } from "./define-route.ts";

const moment = z.iso.datetime().optional();

export const invocationSchema = z
  .object({
    id: z.string(),
    app: z.string(),
    function: z.string(),
    version: z.string(),
    /** Of a class called with other values or options than its defaults. */
    parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
    options: z.record(z.string(), z.unknown()).optional(),
    state: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]),
    /** Why it has not ended. */
    reason: z.string().optional(),
    /** Calls before it in its function's queue. */
    ahead: z.number().int().optional(),
    /** About so many ms until it runs; absent when unknown. */
    estimateMs: z.number().optional(),
    createdAt: z.iso.datetime(),
    /** It is not put into the queue before. */
    dueAt: moment,
    /** It fails when no runner has taken it by then. */
    expiresAt: moment,
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
    webhook: z
      .object({
        /** Without its query, which may hold a secret. */
        url: z.string(),
        state: z.enum(["waiting", "pending", "delivered", "failed"]),
        attempts: z.number().int(),
        status: z.number().int().optional(),
        error: z.string().optional(),
        nextAt: moment,
        endedAt: moment,
      })
      .optional(),
    /** `schedule`: made by the function's schedule, for `tick` or because a person asked for a run in between. */
    trigger: z.literal("schedule").optional(),
    tick: moment,
    /** The failed invocation whose input this one runs again, and the one that runs this one's. */
    redrivenFrom: z.string().optional(),
    redrivenAs: z.string().optional(),
    /** The invocation whose function called it; absent for a call from outside. */
    parent: z.string().optional(),
    /** The call from outside that it all began with. */
    root: z.string().optional(),
    /** Ids of the calls it made, the latest 100, oldest first; not in lists. */
    children: z.array(z.string()).optional(),
    result: z.object({ encoding: z.enum(["json", "pickle"]), size: z.number(), key: z.string().optional() }).optional(),
    error: errorSchema.shape.error.optional(),
    hasException: z.boolean(),
    /** Of a map. */
    inputs: z
      .object({
        total: z.number().int(),
        done: z.number().int(),
        failed: z.number().int(),
        /** No more will be added. */
        sealed: z.boolean(),
      })
      .optional(),
    /** Milliseconds. */
    timings: z.record(z.string(), z.number()),
  })
  .openapi("Invocation");
