/** Routes that call functions. The busiest ones: bodies are checked by hand, and nothing is parsed twice. */
import { z } from "@hono/zod-openapi";
import { awaitOutcome, missing } from "../../core/await-outcome.ts";
import { callOptions } from "../../core/call-options.ts";
import type { Target } from "../../core/catalog.ts";
import { accepts, decodeCall, decodeUploaded, PICKLE_TYPE } from "../../core/decode-call.ts";
import { asFabricError, ERRORS, fail } from "../../core/errors.ts";
import { type Invoked, invoke } from "../../core/invoke.ts";
import { WAITS_FOR_RUNNER } from "../../core/wait.ts";
import { type AnswerForm, answerOutcome, answerPending } from "../answer-outcome.ts";
import { askBack } from "../ask-back.ts";
import {
  clientIsThere,
  defineRoute,
  type GatewayApp,
  type GatewayContext,
  param,
  type RouteDoc,
} from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { errorReply } from "../error-reply.ts";
import { eventForm } from "../event-forms.ts";
import { waitMs } from "../prefer.ts";
import { readBody } from "../read-body.ts";
import { lastSeen, streamEvents } from "../stream-events.ts";
import { findUpload, withUpload } from "../uploads.ts";
import { variantOf } from "../variant-of.ts";

const argumentsSchema = z
  .union([
    z.record(z.string(), z.unknown()),
    z.array(z.unknown()),
    z.object({ args: z.array(z.unknown()).optional(), kwargs: z.record(z.string(), z.unknown()).optional() }),
  ])
  .openapi("Arguments", {
    description: "Named arguments, positional ones, or with `Fabric-Body: call` both",
  });

const outcomeSchema = z
  .object({ id: z.string(), state: z.literal("succeeded"), result: z.unknown() })
  .openapi("Outcome");

const COMMON = {
  method: "post",
  tag: "calls",
  query: z.object({ version: z.string().optional() }).catchall(z.string()),
  headers: z.object({
    prefer: z.string().optional().openapi({ example: "wait=10" }),
    "idempotency-key": z.string().max(255).optional(),
    "fabric-delay": z.string().optional().openapi({ example: "10", description: "Seconds until it may run" }),
    "fabric-ttl": z.string().optional().openapi({ example: "60", description: "Seconds it may wait in the queue" }),
    "fabric-priority": z.string().optional().openapi({
      example: "30",
      description: "Seconds of head start over the function's other queued calls; negative: it lets others go first",
    }),
    "fabric-key": z
      .string()
      .max(255)
      .optional()
      .openapi({ example: "user-1", description: "Whose call it is, where the function has a key_concurrency" }),
    "fabric-debounce": z.string().optional().openapi({
      example: "5",
      description: "Seconds: it runs so long after the last call with the same key, with that one's arguments",
    }),
    "fabric-debounce-key": z.string().max(255).optional(),
    "fabric-body": z.literal("call").optional(),
    "fabric-python": z.string().optional().openapi({ example: "3.11" }),
    "fabric-accept": z.string().optional().openapi({ example: "pickle, redirect" }),
    "fabric-input": z
      .string()
      .optional()
      .openapi({ description: "An upload that is the input; the body is empty then" }),
    "fabric-webhook": z.url().optional().openapi({ description: "Told of the outcome" }),
    "fabric-call": z.literal("remote_gen").optional(),
    accept: z
      .string()
      .optional()
      .openapi({ description: "text/event-stream or application/x-ndjson: the call's events" }),
    "fabric-parameters": z.string().optional().openapi({
      description: "Of a class: its parameters' values as a JSON object; a query such as ?size=large says the same",
      example: '{"size": "large"}',
    }),
    "fabric-options": z.string().optional().openapi({
      description: "Of a class: options that differ from the deployed ones, as a JSON object",
      example: '{"gpu": "A100"}',
    }),
  }),
  body: { "application/json": argumentsSchema, [PICKLE_TYPE]: z.string().openapi({ format: "binary" }) },
  also: { 303: "A large result, for callers who accept a redirect", 202: "Accepted, not ended yet: see Location" },
} satisfies Partial<RouteDoc>;

export function callRoutes(app: GatewayApp, deps: GatewayDeps): void {
  defineRoute(
    app,
    {
      ...COMMON,
      path: "/v1/apps/{app}/functions/{fn}/invocations",
      summary: "Call a function, and wait for its outcome or not",
      reply: { schema: outcomeSchema, what: "It succeeded; pickles come as such" },
    },
    (context) => timed(deps, context, "full"),
  );
  defineRoute(
    app,
    {
      ...COMMON,
      path: "/f/{app}/{fn}",
      summary: "Call a function; the reply is its plain result",
      reply: { what: "The result" },
    },
    (context) => timed(deps, context, "plain"),
  );
}

/** What is refused before it has a record says how long that took. */
async function timed(deps: GatewayDeps, context: GatewayContext, form: AnswerForm): Promise<Response> {
  const arrivedAt = deps.clock.monotonic();
  try {
    return await call(deps, context, form, arrivedAt);
  } catch (error) {
    const reply = errorReply(error, deps.log);
    reply.headers.set("Server-Timing", acceptTiming(deps, arrivedAt));
    return reply;
  }
}

const acceptTiming = ({ clock }: GatewayDeps, arrivedAt: number): string =>
  `accept;dur=${(clock.monotonic() - arrivedAt).toFixed(1)}`;

async function call(
  deps: GatewayDeps,
  context: GatewayContext,
  form: AnswerForm,
  arrivedAt: number,
): Promise<Response> {
  const { req } = context;
  const named = await deps.catalog.target(param(context, "app"), param(context, "fn"), req.query("version"));
  const target = await variantOf(deps, context, named);
  const options = callOptions((name) => req.header(name));
  const body = await readBody(req.raw, deps.limits.bodyBytes);
  const headers = {
    contentType: req.header("content-type"),
    form: req.header("fabric-body"),
    python: req.header("fabric-python"),
    accept: req.header("fabric-accept"),
  };
  const upload = req.header("fabric-input");
  const encoded =
    upload === undefined
      ? decodeCall(body, headers, target)
      : decodeUploaded(await findUpload(deps.objects, upload, body), headers, target);
  const wait = waitMs(req.header("prefer"));
  const events = eventForm(req.header("accept"));
  checkKind(target, wait > 0 && !events, req.header("fabric-call"));
  const admitted = deps.queueLimits.admit(target);
  if (admitted) await admitted;
  const quota = context.get("quota");
  const asked = { ...options, wait: wait > 0 && !events, quota };
  const invoked = (): Promise<Invoked> => invoke(deps, target, encoded, asked);
  const accept = quota ? (): Promise<Invoked> => askBack(deps.waits, target, invoked) : invoked;
  const accepted = await (upload === undefined
    ? accept()
    : withUpload(deps.state.holds, upload, options.idempotency_key ?? "", accept));
  if (accepted.created) deps.metrics.accepted();
  if (wait === 0 && accepted.created) {
    const later = options.delay ?? options.debounce;
    const reason = later ? `due in ${later} s` : WAITS_FOR_RUNNER;
    return answerPending(accepted.id, "queued", { reason }, acceptTiming(deps, arrivedAt));
  }
  if (events && wait > 0)
    return streamEvents(
      deps,
      accepted.id,
      events,
      accepted.created ? undefined : lastSeen(req.header("last-event-id")),
    );
  const reply = await answerAccepted(deps, context, accepted, wait, form);
  if (reply.status !== 202) deps.metrics.answered((deps.clock.monotonic() - arrivedAt) / 1000);
  return reply;
}

/** Before anything is accepted: what is yielded must not be lost on a caller who waits for one value. */
function checkKind({ app, name: called, spec }: Target, waitsForValue: boolean, call: string | undefined): void {
  const name = `${app}/${called}`;
  if (spec.is_generator && waitsForValue)
    fail("generator_needs_stream", `${name} is a generator: ${ERRORS.generator_needs_stream.help}`);
  if (call === "remote_gen" && !spec.is_generator) fail("not_a_generator", `${name} is no generator: call .remote()`);
}

/** Whatever fails from here on, the reply says that the call was accepted, and under which id. */
async function answerAccepted(
  deps: GatewayDeps,
  context: GatewayContext,
  { id, pending }: Invoked,
  wait: number,
  form: AnswerForm,
): Promise<Response> {
  try {
    const isWanted = clientIsThere(context);
    const record = pending ? await pending.wait(wait, isWanted) : await awaitOutcome(deps, id, wait, isWanted);
    const follows = accepts(context.req.header("fabric-accept"), "redirect");
    return await answerOutcome(deps, record ?? missing(id), form, follows);
  } catch (error) {
    if (asFabricError(error).code === "redis_unavailable")
      return answerPending(id, "queued", { reason: "accepted; Redis does not answer at the moment" });
    const reply = errorReply(error, deps.log);
    reply.headers.set("Fabric-Invocation", id);
    return reply;
  }
}
