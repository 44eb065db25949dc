/** Turns a record into the reply of a call. Results pass through as the bytes the function made: nothing is parsed here. */
import { Readable } from "node:stream";
import { ERRORS, type ErrorBody, fail } from "../core/errors.ts";
import type { InvocationRecord, ResultRef } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { PICKLE_TYPE } from "./decode-call.ts";
import { replyHeaders } from "./error-reply.ts";
import { serverTiming } from "./server-timing.ts";

/** `full` wraps results in `{"id", "state", "result"}`; `plain` answers the bare result. */
export type AnswerForm = "full" | "plain";

const JSON_TYPE = "application/json";

/** Why a record that has not ended has not. */
export function reasonOf({ state, reason, container }: InvocationRecord): string {
  if (reason !== undefined) return reason;
  if (state === "queued") return "waiting for a runner to take it";
  return container === undefined ? "waiting for a slot in a container" : `running in ${container}`;
}

export async function answerOutcome(
  objects: ObjectStore,
  record: InvocationRecord,
  form: AnswerForm = "full",
): Promise<Response> {
  if (record.state === "succeeded") return answerResult(objects, record, form);
  if (record.state === "failed" || record.state === "cancelled") return answerError(record, form);
  return answerPending(record.id, record.state, reasonOf(record), serverTiming(record));
}

export function answerPending(id: string, state: string, reason: string, timing = ""): Response {
  return new Response(JSON.stringify({ id, state, reason }), {
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

async function answerResult(objects: ObjectStore, record: InvocationRecord, form: AnswerForm): Promise<Response> {
  const { id, result } = record;
  if (!result) fail("internal", `${id} succeeded without a result`);
  const isPickle = result.encoding === "pickle";
  const headers = {
    "Content-Type": isPickle ? PICKLE_TYPE : JSON_TYPE,
    "Fabric-Invocation": id,
    "Server-Timing": serverTiming(record),
  };
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
