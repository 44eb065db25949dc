/** Writes into the records of inputs that were taken and have no slot yet why they have none. */
import type { Log } from "../core/log.ts";
import type { InvocationStore } from "../core/state-store.ts";
import { STARTING } from "../core/wait.ts";
import type { LiveAttempt } from "./attempt.ts";

/** `refused`: what a further container lacks; without, one is being started. Only what is not `told` is; answers what now is. */
export function noteWaiting(
  { state, log }: { state: { invocations: Pick<InvocationStore, "note"> }; log: Log },
  waiting: readonly LiveAttempt[],
  refused: string | undefined,
  told: string | undefined,
): string | undefined {
  if (refused === told || (refused === undefined && waiting.length === 0)) return told;
  for (const attempt of waiting)
    state.invocations
      .note(attempt, { reason: refused ?? STARTING })
      .catch((err: unknown) => log.debug({ err, id: attempt.id }, "a note was not taken"));
  return refused;
}
