/** Routes for people who wonder: why an invocation is where it is, and what the whole fabric does. */
import { z } from "@hono/zod-openapi";
import { missing } from "../../core/await-outcome.ts";
import { isId } from "../../core/ids.ts";
import { serverTiming } from "../../core/server-timing.ts";
import { defineRoute, type GatewayApp, param } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { explainInvocation, explanationSchema } from "../explain-invocation.ts";
import { overview, overviewSchema } from "../overview.ts";

export function explainRoutes(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/explain",
      tag: "invocations",
      summary: "Explain an invocation: state, reason, place and estimate, every attempt, needs, verdict, last lines",
      reply: { schema: explanationSchema },
    },
    async (context) => {
      const id = param(context, "id");
      // What has no form of an id is not looked up: it would only be a key in Redis.
      const record = (isId("inv", id) ? await deps.state.invocations.get(id) : undefined) ?? missing(id);
      return context.json(await explainInvocation(deps, record), 200, { "Server-Timing": serverTiming(record) });
    },
  );

  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/load",
      tag: "nodes",
      summary: "What functions and nodes do now",
      query: z.object({}),
      reply: { schema: overviewSchema },
    },
    async (context) => context.json(await overview(deps)),
  );
}
