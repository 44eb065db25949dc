/** Claims an entry, also through an outage: a claim whose answer was lost is still ours. */
import type { InvocationRecord } from "../core/invocation.ts";
import type { Attempt, InvocationStore } from "../core/state-store.ts";
import { untilDone } from "../core/until-done.ts";
import type { NodeIdentity } from "./container-plan.ts";

/** `undefined`: the entry is stale and to be forgotten. */
export async function claimSurely(
  invocations: InvocationStore,
  entry: Attempt,
  { runner, node }: NodeIdentity,
  leaseMs: number,
): Promise<InvocationRecord | undefined> {
  let uncertain = false;
  const claim = await untilDone(
    () => invocations.claim(entry, { runner, node, leaseMs }),
    undefined,
    () => (uncertain = true),
  );
  if (claim || !uncertain) return claim?.record;
  const record = await untilDone(() => invocations.get(entry.id));
  const isOurs = record?.state === "running" && record.runner === runner && record.generation === entry.generation;
  return isOurs ? record : undefined;
}
