/** Waits for an invocation that was accepted earlier: by another call, another process, or before a restart. */
import { fail } from "./errors.ts";
import { type InvocationRecord, isTerminal } from "./invocation.ts";
import type { Outcomes } from "./outcomes.ts";
import type { StateStore } from "./state-store.ts";

export async function awaitOutcome(
  { state, outcomes }: { state: Pick<StateStore, "invocations">; outcomes: Outcomes },
  id: string,
  waitMs: number,
  isWanted?: () => boolean,
): Promise<InvocationRecord> {
  const pending = outcomes.begin(id);
  try {
    const record = waitMs > 0 ? await state.invocations.watch(id, outcomes.waiter) : await state.invocations.get(id);
    if (record && !isTerminal(record.state) && waitMs > 0) return (await pending.wait(waitMs, isWanted)) ?? missing(id);
    return record ?? missing(id);
  } finally {
    pending.forget();
  }
}

export const missing = (id: string): never =>
  fail("invocation_not_found", `no invocation '${id.slice(0, 64)}', or its record has expired`);
