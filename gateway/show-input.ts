/** Where one input of a map is, or what it ended with. */
import { fail } from "../core/errors.ts";
import type { InvocationRecord } from "../core/invocation.ts";
import type { MapCounts } from "../core/map.ts";
import { outcomeOf } from "../core/map-outcomes.ts";
import { reasonOf } from "../core/show-invocation.ts";
import type { GatewayDeps } from "./deps.ts";

export async function showInput(
  deps: Pick<GatewayDeps, "state" | "objects">,
  { id, map }: InvocationRecord & { map: MapCounts },
  index: number,
) {
  if (index >= map.total) fail("input_not_found", `${id} has ${map.total} inputs so far, none of index ${index}`);
  const slice = await sliceOf(deps, id, index);
  // Of a slice that ends at this moment the block is there before the slice is gone.
  const outcome = slice ? undefined : await outcomeOf(deps, id, index);
  if (outcome) return { id, index, state: outcome.error ? ("failed" as const) : ("succeeded" as const), outcome };
  if (!slice) return { id, index, state: "queued" as const };
  const { userFaults, platformFaults, node } = slice;
  const runs = slice.state === "running";
  const attempts = userFaults + platformFaults + (runs ? 1 : 0);
  return {
    id,
    index,
    state: runs ? ("running" as const) : ("queued" as const),
    attempts,
    reason: reasonOf(slice),
    node,
  };
}

async function sliceOf({ state }: Pick<GatewayDeps, "state">, map: string, index: number) {
  const id = await state.maps.sliceOf(map, index);
  return id === undefined ? undefined : state.invocations.get(id);
}
