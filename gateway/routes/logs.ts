/** The route of an app's log. */
import { z } from "@hono/zod-openapi";
import { checkAppName } from "../catalog.ts";
import { defineRoute, type GatewayApp, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { type LogQuery, streamLogs } from "../stream-logs.ts";

export const logQuerySchema = z.object({
  follow: z.enum(["true", "false"]).default("false"),
  function: z.string().optional(),
  invocation: z.string().optional(),
  tail: z.coerce.number().int().min(0).max(20_000).optional(),
});

export const toLogQuery = (query: z.output<typeof logQuerySchema>): LogQuery => ({
  follow: query.follow === "true",
  fn: query.function,
  invocation: query.invocation,
  tail: query.tail,
});

const lineSchema = z
  .object({
    seq: z.string(),
    at: z.number(),
    fn: z.string(),
    invocation: z.string().optional(),
    container: z.string(),
    source: z.enum(["stdout", "stderr", "system"]),
    text: z.string(),
  })
  .openapi("LogLine");

export function logRoutes(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/apps/{app}/logs",
      tag: "apps",
      summary: "What an app's functions printed, one JSON object a line; with follow=true also what comes",
      query: logQuerySchema,
      reply: { type: "application/x-ndjson", schema: lineSchema },
    },
    (context) => {
      const name = param(context, "app");
      // An app that was deleted still has its log.
      checkAppName(name);
      return streamLogs(deps, name, toLogQuery(queryOf(context, logQuerySchema)));
    },
  );
}
