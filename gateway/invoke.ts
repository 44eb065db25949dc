/** Accepts a call: record first, then the queue's entry; from then on it runs whatever happens to this process. */
import { hash } from "node:crypto";
import { asFabricError, fail } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import { inputKey, type NewInvocation, RECORD_INLINE_BYTES } from "../core/invocation.ts";
import type { QueuedEntry } from "../core/state-store.ts";
import type { Target } from "./catalog.ts";
import type { EncodedCall } from "./decode-call.ts";
import type { GatewayDeps } from "./deps.ts";
import type { PendingOutcome } from "./outcomes.ts";

export interface Accepted {
  id: string;
  /** False: an earlier call with the same Idempotency-Key. */
  created: boolean;
  /** Present when somebody waits. */
  pending?: PendingOutcome;
}

type Deps = Pick<GatewayDeps, "state" | "queue" | "objects" | "outcomes" | "log">;

export async function invoke(
  deps: Deps,
  target: Target,
  call: EncodedCall,
  options: { wait: boolean; idempotencyKey?: string },
): Promise<Accepted> {
  const id = newId("inv");
  const isLarge = call.input.length > RECORD_INLINE_BYTES;
  if (isLarge) await deps.objects.put(inputKey(id), call.input, { contentType: "application/octet-stream" });
  const pending = options.wait ? deps.outcomes.begin(id) : undefined;
  try {
    const accepting = deps.state.invocations.accept(
      newInvocation(id, target, call, isLarge, pending && deps.outcomes.waiter),
      options.idempotencyKey === undefined
        ? undefined
        : { key: options.idempotencyKey, digest: digestOf(target, call) },
    );
    enqueue(deps, { key: target.key, id, generation: 1 });
    const accepted = await accepting;
    if (!accepted.created) return await repeated(deps, { ...accepted, isLarge, id, repeats: accepted.id }, pending);
  } catch (error) {
    pending?.forget();
    throw error;
  }
  return { id, created: true, pending };
}

function newInvocation(
  id: string,
  { app, spec, version }: Target,
  call: EncodedCall,
  isLarge: boolean,
  waiter: string | undefined,
): NewInvocation {
  return {
    id,
    app,
    fn: spec.name,
    version,
    encoding: call.encoding,
    input: isLarge ? undefined : call.input,
    acceptPickle: call.acceptPickle,
    timeoutMs: Math.round(spec.timeout * 1000),
    retries: spec.retries,
    waiter,
  };
}

/**
 * Not awaited: the record's outbox entry stands until the queue has the entry, so the sweeper makes up for a failure here.
 * Sent right behind the record, on the connection that state and queue share, so that the record is stored first. An entry
 * whose record was refused is stale, and forgotten by the runner that takes it. The hint goes last: a runner that hears of
 * an entry must find it.
 */
function enqueue({ queue, state, log }: Deps, entry: QueuedEntry): void {
  queue
    .add(entry.key, entry)
    .then(() => state.invocations.enqueued(entry))
    .catch((error: unknown) => {
      const { code, message } = asFabricError(error);
      log.warn({ invocation: entry.id, code, error: message }, "left to the sweeper: not queued yet");
    });
}

async function repeated(
  deps: Deps,
  earlier: { id: string; repeats: string; isLarge: boolean; mismatch?: boolean },
  pending: PendingOutcome | undefined,
): Promise<Accepted> {
  pending?.forget();
  if (earlier.isLarge) await deps.objects.delete(inputKey(earlier.id));
  if (earlier.mismatch)
    fail("idempotency_mismatch", "the Idempotency-Key was used before with another function or other arguments", {
      invocation: earlier.repeats,
    });
  return { id: earlier.repeats, created: false };
}

const digestOf = ({ key }: Target, { encoding, input }: EncodedCall): string =>
  hash("sha256", Buffer.concat([Buffer.from(`${key}\0${encoding}\0`), input]));
