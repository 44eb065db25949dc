/** The route of an app's log, and what all routes of logs take. */
import { z } from "@hono/zod-openapi";
import { checkAppName } from "../../core/catalog.ts";
import { fail } from "../../core/errors.ts";
import { isLogSeq } from "../../core/log-seq.ts";
import { MOMENT_FORM, parseMoment } from "../../core/moment.ts";
import { defineRoute, type GatewayApp, type GatewayContext, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import type { LineForm } from "../line-stream.ts";
import { lineSchema } from "../log-line.ts";
import { type LogQuery, streamLogs } from "../stream-logs.ts";

const MAX_GREP = 1_000;

export const logQuerySchema = z.object({
  follow: z.enum(["true", "false"]).default("false"),
  function: z.string().optional(),
  invocation: z.string().optional(),
  /** This invocation, a call from outside, and all calls below it, as far as they are of this app. */
  root: z.string().optional(),
  source: z.enum(["stdout", "stderr", "system"]).optional(),
  /** Plain text. */
  grep: z.string().max(MAX_GREP).optional(),
  since: z.string().optional().openapi({ example: "10m", description: MOMENT_FORM }),
  until: z.string().optional().openapi({ description: MOMENT_FORM }),
  /** A line's `seq`: go on behind it. */
  after: z.string().optional(),
  tail: z.coerce.number().int().min(0).max(20_000).optional(),
});

export function toLogQuery(context: GatewayContext, now: number): LogQuery {
  const query = queryOf(context, logQuerySchema);
  const after = query.after ?? (context.req.header("last-event-id") || undefined);
  if (after !== undefined && !isLogSeq(after))
    fail("bad_request", `after: ${JSON.stringify(after.slice(0, 80))} is no line's seq`);
  return {
    follow: query.follow === "true",
    fn: query.function,
    invocation: query.invocation,
    root: query.root,
    source: query.source,
    grep: query.grep || undefined,
    sinceMs: momentOf("since", query.since, now),
    untilMs: momentOf("until", query.until, now),
    after,
    tail: query.tail,
  };
}

function momentOf(name: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined || text === "") return undefined;
  return (
    parseMoment(text, now) ?? fail("bad_request", `${name}: ${JSON.stringify(text.slice(0, 80))} is not ${MOMENT_FORM}`)
  );
}

export const formOf = (context: GatewayContext): LineForm =>
  context.req.header("accept")?.includes("text/event-stream") ? "sse" : "ndjson";

export const logHeaders = z.object({
  accept: z.string().optional().openapi({ example: "text/event-stream" }),
  "last-event-id": z.string().optional(),
});

export function logRoutes(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/apps/{app}/logs",
      tag: "apps",
      summary: "What an app's functions printed, one JSON object a line; with follow=true also what comes",
      query: logQuerySchema,
      headers: logHeaders,
      reply: { type: "application/x-ndjson", schema: lineSchema },
    },
    (context) => {
      const name = param(context, "app");
      // An app that was deleted still has its log.
      checkAppName(name);
      return streamLogs(deps, name, toLogQuery(context, deps.clock.now()), formOf(context));
    },
  );
}
