/** Accepts a call: once its record is stored it runs, whatever happens to this process. */
import { hash } from "node:crypto";
import { asFabricError, fail } from "./errors.ts";
import { behind, functionKey, inputKey, type NewInvocation, RECORD_INLINE_BYTES } from "./invocation.ts";
import type { ObjectStore } from "./object-store.ts";
import type { Outbox } from "./outbox.ts";
import type { InvocationStore } from "./state-store.ts";

export interface AcceptDeps {
  state: { invocations: Pick<InvocationStore, "accept"> };
  outbox: Pick<Outbox, "post">;
  objects: Pick<ObjectStore, "put" | "delete">;
}

/**
 * A call whose arguments are encoded and checked; its id is new, or that of the same call when a container sends it again. With
 * `inputEtag` they are in the bucket already.
 */
export type Call = NewInvocation & { input: Buffer; inputEtag?: string };

export interface Accepted {
  id: string;
  /** False: an earlier call with the same idempotency or debounce key, one that was redriven before, or this one sent again. */
  created: boolean;
}

/** Throws `idempotency_mismatch`, `quota_exceeded`, `too_many_invocations` or `redis_unavailable`; nothing is accepted then. */
export async function accept(deps: AcceptDeps, call: Call, idempotencyKey?: string): Promise<Accepted> {
  const { id, input, inputEtag } = call;
  const isLarge = inputEtag !== undefined || input.length > RECORD_INLINE_BYTES;
  if (isLarge && inputEtag === undefined)
    await deps.objects.put(inputKey(id), input, { contentType: "application/octet-stream" });
  const accepted = await deps.state.invocations
    .accept(
      isLarge ? { ...call, input: undefined } : call,
      idempotencyKey === undefined ? undefined : { key: idempotencyKey, digest: digestOf(call) },
    )
    .catch(async (thrown: unknown) => {
      const isRefused = asFabricError(thrown).code === "quota_exceeded";
      if (isRefused && isLarge && inputEtag === undefined) await deps.objects.delete(inputKey(id));
      throw thrown;
    });
  if (accepted.created) {
    // What is delayed is released to its queue when it is due.
    if (!call.delayMs) deps.outbox.post({ key: functionKey(call.app, call.fn), id, generation: 1, ...behind(call) });
    return { id, created: true };
  }
  if (accepted.replaced !== undefined) {
    if (accepted.replaced !== "") await deps.objects.delete(inputKey(accepted.replaced));
    return { id: accepted.id, created: false };
  }
  if (isLarge && accepted.id !== id) await deps.objects.delete(inputKey(id));
  if (accepted.mismatch)
    fail("idempotency_mismatch", "the Idempotency-Key was used before with another function or other arguments", {
      invocation: accepted.id,
    });
  return { id: accepted.id, created: false };
}

const digestOf = ({ app, fn, method = "", encoding, input, inputEtag = "" }: Call): string =>
  hash("sha256", Buffer.concat([Buffer.from(`${functionKey(app, fn)}\0${method}\0${encoding}\0${inputEtag}`), input]));
