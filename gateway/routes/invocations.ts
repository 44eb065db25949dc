/** Routes about invocations that were accepted earlier. */
import { z } from "@hono/zod-openapi";
import { awaitOutcome, missing } from "../../core/await-outcome.ts";
import { cancelTree } from "../../core/cancel-tree.ts";
import { accepts, PICKLE_TYPE } from "../../core/decode-call.ts";
import { fail } from "../../core/errors.ts";
import { isId } from "../../core/ids.ts";
import { type InvocationRecord, isTerminal } from "../../core/invocation.ts";
import { serverTiming } from "../../core/server-timing.ts";
import { CHILDREN_SHOWN, showInvocation } from "../../core/show-invocation.ts";
import { answerOutcome } from "../answer-outcome.ts";
import { clientIsThere, defineRoute, type GatewayApp, type GatewayContext, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { EVENT_STREAM, eventForm, JSON_LINES } from "../event-forms.ts";
import { invocationSchema } from "../invocation-schema.ts";
import { SKEW_MS } from "../log-archive.ts";
import { lineSchema } from "../log-line.ts";
import { waitMs } from "../prefer.ts";
import { redrive } from "../redrive.ts";
import { lastSeen, streamEvents } from "../stream-events.ts";
import { streamLogs } from "../stream-logs.ts";
import { formOf, logHeaders, logQuerySchema, toLogQuery } from "./logs.ts";

const tag = "invocations";

const listQuery = z.object({
  app: z.string().optional(),
  function: z.string().optional(),
  /** Only the calls that this invocation's function made. */
  parent: z
    .string()
    .refine((id) => isId("inv", id), "an invocation's id")
    .optional(),
  state: z.enum(["queued", "running", "succeeded", "failed", "cancelled"]).optional(),
  /** Accepted since then; of failed ones: failed since then. */
  since: z.iso.datetime({ offset: true }).optional(),
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
  redriveRoute(app, deps, read);
  logRoute(app, deps, read);
  eventRoute(app, deps, read);
}

function recordRoutes(app: GatewayApp, { state, waits }: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations",
      tag,
      summary: "List recent invocations, and all failed ones whose records are kept; newest first",
      query: listQuery,
      reply: { schema: z.object({ invocations: z.array(invocationSchema) }) },
    },
    async (context) => {
      const { app: name, function: fn, since, ...rest } = queryOf(context, listQuery);
      const sinceMs = since === undefined ? undefined : Date.parse(since);
      const records = await state.invocations.list({ app: name, fn, since: sinceMs, ...rest });
      const open = records.filter(({ state }) => !isTerminal(state));
      const told = await waits.all(open);
      const waitOf = new Map(open.map(({ id }, at) => [id, told[at]]));
      return context.json({
        invocations: records.map((record) => showInvocation(record, undefined, waitOf.get(record.id))),
      });
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
      const [children, wait] = await Promise.all([
        record.hasCalls ? state.invocations.children(record.id, CHILDREN_SHOWN) : undefined,
        isTerminal(record.state) ? undefined : waits.of(record),
      ]);
      return context.json(showInvocation(record, children, wait), 200, { "Server-Timing": serverTiming(record) });
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
      const follows = accepts(context.req.header("fabric-accept"), "redirect");
      return answerOutcome(deps, record, "full", follows);
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
      summary: "Cancel an invocation, and the calls its function made",
      reply: { schema: z.object({ id: z.string(), state: z.enum(["cancelled", "cancelling"]) }) },
    },
    async (context) => {
      const id = invocationId(context);
      const outcome = await cancelTree(state.invocations, id);
      if (outcome === "missing") missing(id);
      if (outcome === "ended") fail("invocation_ended", `${id} has ended already`, { id });
      return context.json({ id, state: outcome });
    },
  );
}

function redriveRoute(app: GatewayApp, deps: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/invocations/{id}/redrive",
      tag,
      summary: "Run a failed invocation's input again on the current version; asked twice, the same new invocation",
      reply: { status: 202, schema: z.object({ id: z.string(), redrivenFrom: z.string(), created: z.boolean() }) },
    },
    async (context) => {
      const record = await read(context);
      const { id, created } = await redrive(deps, record, context.get("quota"));
      if (created) deps.metrics.accepted();
      return context.json({ id, redrivenFrom: record.id, created }, 202, { Location: `/v1/invocations/${id}` });
    },
  );
}

/** Lines of an invocation lie within its life, by clocks that may differ. */
export const timeOf = ({ createdAt, finishedAt = Number.MAX_SAFE_INTEGER - SKEW_MS }: InvocationRecord) => ({
  since: createdAt - SKEW_MS,
  until: finishedAt + SKEW_MS,
});

function logRoute(app: GatewayApp, deps: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/logs",
      tag,
      summary: "What the function printed during an invocation",
      query: logQuerySchema,
      headers: logHeaders,
      reply: { type: "application/x-ndjson", schema: lineSchema },
    },
    async (context) => {
      const record = await read(context);
      const query = toLogQuery(context, deps.clock.now());
      const { since, until } = timeOf(record);
      const within = {
        sinceMs: Math.max(since, query.sinceMs ?? since),
        untilMs: query.follow ? query.untilMs : Math.min(until, query.untilMs ?? until),
      };
      return streamLogs(
        deps,
        record.app,
        { ...query, ...within, fn: undefined, invocation: record.id },
        formOf(context),
      );
    },
  );
}

function eventRoute(app: GatewayApp, deps: GatewayDeps, read: Read): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/events",
      tag,
      summary: "What happens to an invocation: its states, what a generator yields, its end",
      headers: z.object({ accept: z.string().optional(), "last-event-id": z.string().optional() }),
      reply: { type: EVENT_STREAM.contentType, what: `Events; as JSON lines with Accept: ${JSON_LINES.contentType}` },
    },
    async (context) => {
      const { id, generation } = await read(context);
      const after = lastSeen(context.req.header("last-event-id"));
      if (after && after.generation > generation)
        fail("bad_request", `Last-Event-ID names generation ${after.generation}; ${id} is at ${generation}`);
      return streamEvents(deps, id, eventForm(context.req.header("accept")) ?? EVENT_STREAM, after);
    },
  );
}
