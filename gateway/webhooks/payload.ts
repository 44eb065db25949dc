/** What a webhook says: the outcome, with its result inside while that is small JSON, else with a URL of it. */
import { buffer } from "node:stream/consumers";
import type { InvocationRecord } from "../../core/invocation.ts";
import type { ObjectStore } from "../../core/object-store.ts";
import { timings } from "../../core/server-timing.ts";

export const INLINE_BYTES = 64 * 1024;
const URL_SECONDS = 24 * 3600;

export async function webhookPayload(objects: ObjectStore, record: InvocationRecord): Promise<string> {
  const { id, app, fn, version, state, error, result } = record;
  const finishedAt = record.finishedAt && new Date(record.finishedAt).toISOString();
  const facts = { id, app, function: fn, version, state, error, finishedAt, timings: timings(record) };
  if (!result) return JSON.stringify(facts);
  const inline = await inlineResult(objects, record);
  // The function's own bytes, so that numbers no JavaScript number can hold arrive unchanged.
  if (inline !== undefined) return `${JSON.stringify(facts).slice(0, -1)},"result":${inline}}`;
  const resultUrl = result.key && (await objects.presignGet(result.key, URL_SECONDS));
  return JSON.stringify({ ...facts, resultEncoding: result.encoding, resultBytes: result.size, resultUrl });
}

async function inlineResult(objects: ObjectStore, { result }: InvocationRecord): Promise<string | undefined> {
  if (result?.encoding !== "json" || result.size > INLINE_BYTES) return undefined;
  const bytes = result.inline ?? (result.key && (await stored(objects, result.key)));
  if (!bytes) return undefined;
  const text = bytes.toString("utf8");
  return isJson(text) ? text : undefined;
}

async function stored(objects: ObjectStore, key: string): Promise<Buffer | undefined> {
  const object = await objects.get(key);
  return object && buffer(object.body);
}

/** A container's word is not taken for it: what is no JSON could pretend to be other fields. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
