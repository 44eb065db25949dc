/** Runs the input of an invocation that failed again, or those of a map, as a new invocation on the app's current version. */
import type { Accepted } from "../core/accept.ts";
import { decodeCall, decodeUploaded, PICKLE_TYPE, type Uploaded } from "../core/decode-call.ts";
import { fail } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import { type InvocationRecord, inputKey } from "../core/invocation.ts";
import { invoke } from "../core/invoke.ts";
import type { TokenQuota } from "../core/quota.ts";
import { resolveVariant } from "../core/resolve-variant.ts";
import { gather } from "../core/sized-body.ts";
import { calledName, parseVariant, specName } from "../core/variant.ts";
import { askBack } from "./ask-back.ts";
import type { GatewayDeps } from "./deps.ts";
import { redriveMap } from "./redrive-map.ts";

/** Answers the earlier successor when there is one: of two who redrive the same, one makes it. */
export async function redrive(deps: GatewayDeps, record: InvocationRecord, quota?: TokenQuota): Promise<Accepted> {
  const { id, app, state } = record;
  if (state !== "failed" && state !== "cancelled")
    fail("invocation_not_failed", `${id} is ${state}; only what failed or was cancelled can be redriven`, {
      id,
      state,
    });
  if (record.redrivenAs && !record.map) return { id: record.redrivenAs, created: false };
  const variant = record.variant === undefined ? {} : parseVariant(record.variant);
  const method = await deps.catalog.target(app, calledName(record));
  const target = await resolveVariant(method, variant, () => deps.state.capacity.nodes());
  if (record.map) {
    const acceptsPickles = record.acceptPickle && (await pythonOf(deps, record)) === target.python;
    return redriveMap(deps, record, target, acceptsPickles, quota);
  }
  const stored = record.input ?? (await storedInput(deps, record));
  const isPickle = record.encoding === "pickle";
  const python = isPickle || record.acceptPickle ? await pythonOf(deps, record) : undefined;
  const headers = isPickle ? { contentType: PICKLE_TYPE } : { form: "call" };
  const accept = record.acceptPickle ? "pickle" : undefined;
  const said = { ...headers, python: python ?? target.python, accept };
  const encoded = Buffer.isBuffer(stored) ? decodeCall(stored, said, target) : decodeUploaded(stored, said, target);
  return askBack(deps.waits, target, () =>
    invoke(deps, target, encoded, { wait: false, redrivenFrom: id, key: record.key, quota }),
  );
}

/** One that would not come in a request is copied inside the bucket, as if it had been uploaded for the new invocation. */
async function storedInput(
  { objects, limits }: GatewayDeps,
  { id, inputFrom }: InvocationRecord,
): Promise<Buffer | Uploaded> {
  const key = inputKey(inputFrom ?? id);
  const stored = await objects.get(key);
  if (!stored) fail("input_gone", `the input of ${id} is not stored any more`, { id });
  if (stored.length <= limits.bodyBytes) return gather(stored.body, stored.length);
  stored.body.destroy();
  const next = newId("inv");
  const copied = await objects.copy(key, inputKey(next), { size: stored.size });
  return copied?.created
    ? { id: next, etag: copied.etag }
    : fail("input_gone", `the input of ${id} was just deleted`, { id });
}

/** Of the caller who sent the pickle: that of the version it was sent to, while that is known. */
async function pythonOf(
  { registry }: GatewayDeps,
  { app, fn, version }: InvocationRecord,
): Promise<string | undefined> {
  const manifest = await registry.version(app, version);
  const spec = manifest?.functions.find(({ name }) => name === specName(fn));
  return spec && manifest?.images[spec.image]?.spec.python;
}
