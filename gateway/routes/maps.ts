/** Routes that fan one call out over many inputs: NDJSON in, NDJSON out, both while the other goes on. */
import { z } from "@hono/zod-openapi";
import { missing } from "../../core/await-outcome.ts";
import { callOptions } from "../../core/call-options.ts";
import type { Target } from "../../core/catalog.ts";
import { accepts } from "../../core/decode-call.ts";
import { asFabricError, type ErrorCode, fail } from "../../core/errors.ts";
import { appendPages, HOLD_MS, openMap } from "../../core/fan-out.ts";
import { isId } from "../../core/ids.ts";
import type { InvocationRecord } from "../../core/invocation.ts";
import { type InputForm, readInputs } from "../../core/read-inputs.ts";
import { calledName } from "../../core/variant.ts";
import { askBack } from "../ask-back.ts";
import { defineRoute, type GatewayApp, type GatewayContext, param, queryOf } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { waitMs } from "../prefer.ts";
import { interrupted } from "../read-body.ts";
import { showInput } from "../show-input.ts";
import { streamResults } from "../stream-results.ts";
import { variantOf } from "../variant-of.ts";

const tag = "maps";
const NDJSON = "application/x-ndjson";

const inputLines = z.string().openapi({
  description: "A line for each input: an array of positional arguments or an object of named ones",
  example: '[1]\n{"x": 2}\n',
});
const outcomeLines = z.string().openapi({
  description: "A line for each input that ended: its index, and its result or error; the last line tells the end",
  example: '{"index":0,"result":1}\n{"ended":true,"state":"succeeded","inputs":1,"failed":0}\n',
});
const acceptedSchema = z.object({ id: z.string(), inputs: z.number().int() }).openapi("Map");

const inputSchema = z
  .object({
    id: z.string(),
    index: z.number().int(),
    state: z.enum(["queued", "running", "succeeded", "failed"]).openapi({
      description: "`running`: it is with a runner, alone or among inputs that run one after the other",
    }),
    attempts: z
      .number()
      .int()
      .optional()
      .openapi({ description: "That ended without an outcome, and the one that runs" }),
    reason: z.string().optional(),
    node: z.string().optional(),
    outcome: z.object({ index: z.number().int() }).loose().optional(),
  })
  .openapi("MapInput");

const mapQuery = z.object({
  version: z.string().optional(),
  /** More inputs follow in further requests. */
  more: z.enum(["true", "false"]).default("false"),
});
const inputsQuery = z.object({
  first: z.coerce.number().int().min(0),
  more: z.enum(["true", "false"]).default("false"),
});
const resultsQuery = z.object({
  after: z.coerce.number().int().min(0).default(0),
  cursors: z.enum(["true", "false"]).default("false"),
  follow: z.enum(["true", "false"]).default("true"),
});

export function mapRoutes(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/apps/{app}/functions/{fn}/map",
      tag,
      summary: "Call a function once for each line of the body; with Prefer: respond-async, only accept the inputs",
      query: mapQuery,
      headers: z.object({ prefer: z.string().optional(), "idempotency-key": z.string().max(255).optional() }),
      body: { [NDJSON]: inputLines },
      reply: { type: NDJSON, schema: outcomeLines, what: "Outcomes as they come" },
      also: { 202: "Accepted: the id, and the number of inputs so far" },
    },
    (context) => map(deps, context),
  );
  defineRoute(
    app,
    {
      method: "post",
      path: "/v1/invocations/{id}/inputs",
      tag,
      summary: "Append inputs to a map; the same ones again change nothing",
      query: inputsQuery,
      body: { [NDJSON]: inputLines },
      reply: { schema: acceptedSchema },
    },
    (context) => append(deps, context),
  );
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/results",
      tag,
      summary: "Outcomes of a map's inputs, as they come, from a position on",
      query: resultsQuery,
      reply: { type: NDJSON, schema: outcomeLines },
    },
    async (context) => {
      const { after, cursors, follow } = queryOf(context, resultsQuery);
      const { id } = await readMap(deps, context);
      return streamResults(deps, id, { after, cursors: cursors === "true", follow: follow === "true" });
    },
  );
  inputRoute(app, deps);
}

function inputRoute(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/invocations/{id}/inputs/{index}",
      tag,
      summary: "One input of a map: where it is, or what it ended with",
      reply: { schema: inputSchema },
    },
    async (context) => {
      const record = await readMap(deps, context);
      const index = param(context, "index");
      if (!/^\d{1,15}$/.test(index)) fail("bad_request", `${JSON.stringify(index)} is not the index of an input`);
      return context.json(await showInput(deps, record, Number(index)));
    },
  );
}

/** Its sender may go on with the same map. */
const COMES_BACK: ReadonlySet<ErrorCode> = new Set(["upload_incomplete", "queue_full", "quota_exceeded"]);

async function map(deps: GatewayDeps, context: GatewayContext): Promise<Response> {
  const { more, version } = queryOf(context, mapQuery);
  const named = await deps.catalog.target(param(context, "app"), param(context, "fn"), version);
  const target = await variantOf(deps, context, named);
  const form = inputForm(context, target);
  const options = callOptions((name) => context.req.header(name));
  const pages = readInputs(bodyOf(context), target, form, deps);
  // What is wrong with the first inputs leaves nothing behind.
  const head = await pages.next();
  const quota = context.get("quota");
  const about = { acceptPickle: form.acceptsPickles, quota };
  const { id, created } = await askBack(deps.waits, target, () => openMap(deps, target, about, options));
  const streams = waitMs(context.req.header("prefer")) > 0 && more === "false";
  // Who can send the same again is told to; the others' inputs wait in their connection.
  const isHeldUp = quota && !streams && options.idempotency_key !== undefined;
  if (created) deps.metrics.accepted();
  const feed = async (): Promise<number> => {
    // A repeated request brings the same inputs again: what is stored already stays as it is.
    const to = { id, inlineBytes: 0, quota, ...(isHeldUp ? { holdMs: HOLD_MS } : {}) };
    const total = await askBack(deps.waits, target, () =>
      appendPages(deps, to, head.done ? [] : from(head.value, pages)),
    );
    if (more === "false") await deps.state.maps.seal(id);
    return total;
  };
  const feeding = feed();
  const orCancelled = feeding.catch(async (thrown: unknown) => {
    // Half of the inputs are not what was asked for; but who may send them again goes on where the connection broke off.
    const comesBack = COMES_BACK.has(asFabricError(thrown).code) && options.idempotency_key !== undefined;
    if (!comesBack) await deps.state.invocations.cancel(id);
    throw thrown;
  });
  if (streams) {
    // The reply hears of what is wrong from `feeding` itself, before the map can end for it.
    orCancelled.catch((error: unknown) =>
      deps.log.info({ id, code: asFabricError(error).code }, "a map's inputs ended"),
    );
    return streamResults(deps, id, { after: 0, cursors: false, follow: true }, feeding);
  }
  return context.json({ id, inputs: await orCancelled }, 202, {
    Location: `/v1/invocations/${id}`,
    "Fabric-Invocation": id,
  });
}

async function* from<T>(head: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield head;
  yield* rest;
}

async function append(deps: GatewayDeps, context: GatewayContext): Promise<Response> {
  const { first, more } = queryOf(context, inputsQuery);
  const record = await readMap(deps, context);
  const { id, app, version } = record;
  const target = await deps.catalog.target(app, calledName(record), version);
  const form = { ...inputForm(context, target), acceptsPickles: record.acceptPickle };
  const pages = readInputs(bodyOf(context), target, form, { clock: deps.clock, first });
  const to = { id, inlineBytes: record.map.inlineBytes, holdMs: HOLD_MS, quota: context.get("quota") };
  const total = await askBack(deps.waits, target, () => appendPages(deps, to, pages, first));
  if (more === "false") await deps.state.maps.seal(id);
  return context.json({ id, inputs: total });
}

async function readMap({ state }: GatewayDeps, context: GatewayContext) {
  const id = param(context, "id");
  const record = (isId("inv", id) ? await state.invocations.get(id) : undefined) ?? missing(id);
  if (!record.map) fail("bad_request", `${id} is a single call; see /v1/invocations/${id}/result`);
  return record as InvocationRecord & { map: NonNullable<InvocationRecord["map"]> };
}

function inputForm({ req }: GatewayContext, target: Target): InputForm {
  const body = req.header("fabric-body");
  if (body !== undefined && body !== "call")
    fail("bad_request", `Fabric-Body: ${JSON.stringify(body)} is not known; use "call" or leave it out`);
  return {
    isCallForm: body === "call",
    acceptsPickles: accepts(req.header("fabric-accept"), "pickle") && req.header("fabric-python") === target.python,
  };
}

async function* bodyOf({ req }: GatewayContext): AsyncGenerator<Uint8Array> {
  if (!req.raw.body) return;
  try {
    yield* req.raw.body as unknown as AsyncIterable<Uint8Array>;
  } catch (cause) {
    interrupted(cause);
  }
}
