/** Makes an invocation of a checked call, for a caller who waits for its outcome or not. */
import { type AcceptDeps, type Accepted, accept } from "./accept.ts";
import { type CallOptions, timingOf } from "./call-options.ts";
import type { Target } from "./catalog.ts";
import type { EncodedCall } from "./decode-call.ts";
import { newId } from "./ids.ts";
import type { Caller, NewInvocation } from "./invocation.ts";
import type { Outcomes, PendingOutcome } from "./outcomes.ts";

export interface Invoked extends Accepted {
  /** Present when somebody waits, and the call is a new one. */
  pending?: PendingOutcome;
}

type Deps = AcceptDeps & { outcomes: Outcomes };

export async function invoke(
  deps: Deps,
  { app, spec, method, variant, version }: Target,
  { encoding, input, acceptPickle, uploaded }: EncodedCall,
  {
    wait,
    redrivenFrom,
    trigger,
    tick,
    from,
    quota,
    ...options
  }: CallOptions & { wait: boolean; from?: { id: string; caller: Caller } } & Pick<
      NewInvocation,
      "redrivenFrom" | "trigger" | "tick" | "quota"
    >,
): Promise<Invoked> {
  const id = from?.id ?? uploaded?.id ?? newId("inv");
  const pending = wait ? deps.outcomes.begin(id) : undefined;
  try {
    const accepted = await accept(
      deps,
      {
        id,
        app,
        fn: spec.name,
        method,
        variant,
        version,
        encoding,
        input,
        inputEtag: uploaded?.etag,
        acceptPickle,
        ...timingOf(spec, options),
        redrivenFrom,
        caller: from?.caller,
        waiter: pending && deps.outcomes.waiter,
        ttlSeconds: spec.result_ttl ?? undefined,
        webhook: options.webhook ?? spec.webhook ?? undefined,
        trigger,
        tick,
        quota,
      },
      options.idempotency_key,
    );
    if (accepted.created) return { ...accepted, pending };
    pending?.forget();
    return accepted;
  } catch (error) {
    pending?.forget();
    throw error;
  }
}
