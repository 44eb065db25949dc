/** A line of a log as clients see it. */
import { z } from "@hono/zod-openapi";

export const lineSchema = z
  .object({
    seq: z.string(),
    at: z.number(),
    /** Empty on a gap that concerns the whole app. */
    fn: z.string(),
    invocation: z.string().optional(),
    /** The call from outside that it lies below; absent for such a call itself. */
    root: z.string().optional(),
    container: z.string(),
    source: z.enum(["stdout", "stderr", "system"]),
    /** Which rank of a gang printed it. */
    rank: z.number().int().optional(),
    text: z.string(),
    /** Lines are missing here. */
    gap: z
      .object({ lines: z.number().int().optional(), from: z.string().optional(), to: z.string().optional() })
      .optional(),
    reason: z.string().optional(),
  })
  .openapi("LogLine");
