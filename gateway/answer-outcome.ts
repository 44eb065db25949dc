/** Turns a record into the reply of a call. Results pass through as the bytes the function made: nothing is parsed here. */
import { Readable } from "node:stream";
import { PICKLE_TYPE } from "../core/decode-call.ts";
import { ERRORS, type ErrorBody, fail } from "../core/errors.ts";
import type { InvocationRecord, ResultRef } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { serverTiming } from "../core/server-timing.ts";
import type { Wait } from "../core/wait.ts";
import type { GatewayDeps } from "./deps.ts";
import { replyHeaders } from "./error-reply.ts";

/** `full` wraps results in `{"id", "state", "result"}`; `plain` answers the bare result. */
export type AnswerForm = "full" | "plain";

/** A caller who follows redirects fetches larger results from the bucket itself. */
const REDIRECT_BYTES = 8 * 1024 * 1024;
const REDIRECT_SECONDS = 3600;

const JSON_TYPE = "application/json";

/** `follows`: the caller fetches a large result where a 303 says; it comes bare from there, whatever the form. */
export async function answerOutcome(
  { objects, waits }: Pick<GatewayDeps, "objects" | "waits">,
  record: InvocationRecord,
  form: AnswerForm = "full",
  follows = false,
): Promise<Response> {
  if (record.state === "succeeded") return answerResult(objects, record, form, follows);
  if (record.state === "failed" || record.state === "cancelled") return answerError(record, form);
  return answerPending(record.id, record.state, await waits.of(record), serverTiming(record));
}

export function answerPending(id: string, state: string, wait: Wait, timing = ""): Response {
  return new Response(JSON.stringify({ id, state, ...wait }), {
    status: 202,
    headers: {
      "Content-Type": JSON_TYPE,
      Location: `/v1/invocations/${id}`,
      "Fabric-Invocation": id,
      "Server-Timing": timing,
    },
  });
}

function answerError(record: InvocationRecord, form: AnswerForm): Response {
  const error: ErrorBody = record.error ?? {
    code: "internal",
    message: "no error",
    retryable: false,
    fault: "platform",
  };
  const kind = ERRORS[error.code] ?? ERRORS.internal;
  const body = form === "plain" ? { error, id: record.id } : { id: record.id, state: record.state, error };
  return new Response(JSON.stringify(body), {
    status: kind.status,
    headers: {
      "Content-Type": JSON_TYPE,
      "Fabric-Invocation": record.id,
      "Server-Timing": serverTiming(record),
      ...replyHeaders(kind.status),
    },
  });
}

async function answerResult(
  objects: ObjectStore,
  record: InvocationRecord,
  form: AnswerForm,
  follows: boolean,
): Promise<Response> {
  const { id, result } = record;
  if (!result) fail("internal", `${id} succeeded without a result`);
  const isPickle = result.encoding === "pickle";
  const headers = {
    "Content-Type": isPickle ? PICKLE_TYPE : JSON_TYPE,
    "Fabric-Invocation": id,
    "Server-Timing": serverTiming(record),
  };
  if (follows && result.key !== undefined && result.size > REDIRECT_BYTES) {
    const Location = await objects.presignGet(result.key, REDIRECT_SECONDS);
    return new Response(null, { status: 303, headers: { ...headers, Location, "Fabric-Encoding": result.encoding } });
  }
  const isWrapped = form === "full" && !isPickle;
  const before = isWrapped ? `{"id":"${id}","state":"succeeded","result":` : "";
  const after = isWrapped ? "}" : "";
  if (result.inline) {
    const whole = isWrapped ? Buffer.concat([Buffer.from(before), result.inline, Buffer.from(after)]) : result.inline;
    return new Response(whole as Uint8Array<ArrayBuffer>, { headers });
  }
  const body = await openResult(objects, id, result);
  return new Response(Readable.toWeb(Readable.from(around(before, body, after))) as ReadableStream, { headers });
}

async function openResult(objects: ObjectStore, id: string, result: ResultRef): Promise<Readable> {
  const stored = result.key === undefined ? undefined : await objects.get(result.key);
  return stored?.body ?? fail("internal", `the result of ${id} is not in the bucket`);
}

async function* around(before: string, body: Readable, after: string): AsyncGenerator<Buffer> {
  if (before) yield Buffer.from(before);
  for await (const chunk of body) yield chunk as Buffer;
  if (after) yield Buffer.from(after);
}
