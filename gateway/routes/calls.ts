/** Routes that call functions. The busiest ones: bodies are checked by hand, and nothing is parsed twice. */
import { z } from "@hono/zod-openapi";
import { asFabricError, fail } from "../../core/errors.ts";
import { type AnswerForm, answerOutcome, answerPending } from "../answer-outcome.ts";
import { awaitOutcome, missing } from "../await-outcome.ts";
import { decodeCall, PICKLE_TYPE } from "../decode-call.ts";
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
import { type Accepted, invoke } from "../invoke.ts";
import { waitMs } from "../prefer.ts";
import { readBody } from "../read-body.ts";

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
  query: z.object({ version: z.string().optional() }),
  headers: z.object({
    prefer: z.string().optional().openapi({ example: "wait=10" }),
    "idempotency-key": z.string().max(255).optional(),
    "fabric-body": z.literal("call").optional(),
    "fabric-python": z.string().optional().openapi({ example: "3.11" }),
    "fabric-accept": z.literal("pickle").optional(),
  }),
  body: { "application/json": argumentsSchema, [PICKLE_TYPE]: z.string().openapi({ format: "binary" }) },
  also: { 202: "Accepted, not ended yet: see Location" },
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
    (context) => call(deps, context, "full"),
  );
  defineRoute(
    app,
    {
      ...COMMON,
      path: "/f/{app}/{fn}",
      summary: "Call a function; the reply is its plain result",
      reply: { what: "The result" },
    },
    (context) => call(deps, context, "plain"),
  );
}

async function call(deps: GatewayDeps, context: GatewayContext, form: AnswerForm): Promise<Response> {
  const arrivedAt = deps.clock.monotonic();
  const { req } = context;
  const target = await deps.catalog.target(param(context, "app"), param(context, "fn"), req.query("version"));
  const idempotencyKey = checkedKey(req.header("idempotency-key"));
  const body = await readBody(req.raw, deps.limits.bodyBytes);
  const encoded = decodeCall(
    body,
    {
      contentType: req.header("content-type"),
      form: req.header("fabric-body"),
      python: req.header("fabric-python"),
      accept: req.header("fabric-accept"),
    },
    target,
  );
  const wait = waitMs(req.header("prefer"));
  const accepted = await invoke(deps, target, encoded, { wait: wait > 0, idempotencyKey });
  if (accepted.created) deps.metrics.accepted();
  if (wait === 0 && accepted.created) return answerPending(accepted.id, "queued", "waiting for a runner to take it");
  const reply = await answerAccepted(deps, context, accepted, wait, form);
  if (reply.status !== 202) deps.metrics.answered((deps.clock.monotonic() - arrivedAt) / 1000);
  return reply;
}

/** Whatever fails from here on, the reply says that the call was accepted, and under which id. */
async function answerAccepted(
  deps: GatewayDeps,
  context: GatewayContext,
  { id, pending }: Accepted,
  wait: number,
  form: AnswerForm,
): Promise<Response> {
  try {
    const isWanted = clientIsThere(context);
    const record = pending ? await pending.wait(wait, isWanted) : await awaitOutcome(deps, id, wait, isWanted);
    return await answerOutcome(deps.objects, record ?? missing(id), form);
  } catch (error) {
    if (asFabricError(error).code === "redis_unavailable")
      return answerPending(id, "queued", "accepted; Redis does not answer at the moment");
    const reply = errorReply(error, deps.log);
    reply.headers.set("Fabric-Invocation", id);
    return reply;
  }
}

function checkedKey(key: string | undefined): string | undefined {
  if (key !== undefined && (key === "" || key.length > 255))
    fail("bad_request", "an Idempotency-Key has 1 to 255 characters");
  return key;
}
