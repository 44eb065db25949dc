/** Routes about invocations that were accepted earlier. */
import { z } from "@hono/zod-openapi";
import { fail } from "../../core/errors.ts";
import { isId } from "../../core/ids.ts";
import type { InvocationRecord } from "../../core/invocation.ts";
import { answerOutcome } from "../answer-outcome.ts";
import { awaitOutcome, missing } from "../await-outcome.ts";
import { PICKLE_TYPE } from "../decode-call.ts";
import { clientIsThere, defineRoute, type GatewayApp, type GatewayContext, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { waitMs } from "../prefer.ts";
import { serverTiming } from "../server-timing.ts";
import { invocationSchema, showInvocation } from "../show-invocation.ts";
import { streamLogs } from "../stream-logs.ts";
import { logQuerySchema, toLogQuery } from "./logs.ts";

const tag = "invocations";

const listQuery = z.object({
  app: z.string().optional(),
  function: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

/** What has no form of an id is not looked up: it would only be a key in Redis. */
function invocationId(context: GatewayContext): string {
  const id = param(context, "id");
  return isId("inv", id) ? id : missing(id);
}

type Read = (context: GatewayContext) => Promise<InvocationRecord>;

export function invocationRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const read: Read = async (context) => {
    const id = invocationId(context);
    return (await deps.state.invocations.get(id)) ?? missing(id);
  };
  recordRoutes(app, deps, read);
  outcomeRoutes(app, deps, read);
  cancelRoute(app, deps);
  logRoute(app, deps, read);
}

function recordRoutes(app: GatewayApp, { state }: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations",
      tag,
      summary: "List recent invocations, newest first",
      query: listQuery,
      reply: { schema: z.object({ invocations: z.array(invocationSchema) }) },
    },
    async (context) => {
      const { app: name, function: fn, limit } = queryOf(context, listQuery);
      const records = await state.invocations.list({ app: name, fn, limit });
      return context.json({ invocations: records.map(showInvocation) });
    },
  );

  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}",
      tag,
      summary: "Show an invocation",
      reply: { schema: invocationSchema },
    },
    async (context) => {
      const record = await read(context);
      return context.json(showInvocation(record), 200, { "Server-Timing": serverTiming(record) });
    },
  );
}

function outcomeRoutes(app: GatewayApp, deps: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/result",
      tag,
      summary: "Wait for an invocation's outcome",
      headers: z.object({ prefer: z.string().optional() }),
      also: { 202: "Not ended yet" },
    },
    async (context) => {
      const wait = waitMs(context.req.header("prefer"));
      const record = await awaitOutcome(deps, invocationId(context), wait, clientIsThere(context));
      return answerOutcome(deps.objects, record);
    },
  );

  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/exception",
      tag,
      summary: "The pickled exception of a failed invocation",
      reply: { type: PICKLE_TYPE },
    },
    async (context) => {
      const { id, exception } = await read(context);
      if (!exception) fail("invocation_not_found", `${id} holds no pickled exception`);
      return new Response(exception as Uint8Array<ArrayBuffer>, { headers: { "Content-Type": PICKLE_TYPE } });
    },
  );
}

function cancelRoute(app: GatewayApp, { state }: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/invocations/{id}/cancel",
      tag,
      summary: "Cancel an invocation",
      reply: { schema: z.object({ id: z.string(), state: z.enum(["cancelled", "cancelling"]) }) },
    },
    async (context) => {
      const id = invocationId(context);
      const outcome = await state.invocations.cancel(id);
      if (outcome === "missing") missing(id);
      if (outcome === "ended") fail("invocation_ended", `${id} has ended already`, { id });
      return context.json({ id, state: outcome });
    },
  );
}

function logRoute(app: GatewayApp, deps: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/logs",
      tag,
      summary: "What the function printed during an invocation",
      query: logQuerySchema,
      reply: { type: "application/x-ndjson" },
    },
    async (context) => {
      const { id, app: name } = await read(context);
      const query = toLogQuery(queryOf(context, logQuerySchema));
      return streamLogs(deps, name, { ...query, fn: undefined, invocation: id });
    },
  );
}
