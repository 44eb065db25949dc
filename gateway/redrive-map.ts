/** Runs those inputs of a map that failed again, as a new map on the app's current version. */
import type { Accepted } from "../core/accept.ts";
import type { Target } from "../core/catalog.ts";
import { fail } from "../core/errors.ts";
import { appendPages, openMap } from "../core/fan-out.ts";
import type { InvocationRecord } from "../core/invocation.ts";
import { lineOffsets, pageKey } from "../core/map.ts";
import { failedInputs } from "../core/map-outcomes.ts";
import type { TokenQuota } from "../core/quota.ts";
import { readInputs } from "../core/read-inputs.ts";
import { gather } from "../core/sized-body.ts";
import type { GatewayDeps } from "./deps.ts";

/**
 * `acceptsPickles`: the function still has the Python of who sent them. A successor that was not filled, because its gateway
 * was lost, is filled by who asks again: the same inputs in the same order.
 */
export async function redriveMap(
  deps: GatewayDeps,
  record: InvocationRecord,
  target: Target,
  acceptsPickles: boolean,
  quota: TokenQuota | undefined,
): Promise<Accepted> {
  const earlier = record.redrivenAs === undefined ? undefined : await deps.state.invocations.get(record.redrivenAs);
  if (record.redrivenAs !== undefined && (!earlier || earlier.map?.sealed))
    return { id: record.redrivenAs, created: false };
  const failed = await failedInputs(deps, record.id);
  const form = { isCallForm: true, acceptsPickles };
  const pages = () => readInputs(linesOf(deps, record.id, failed), target, form, deps);
  // All of it is read before the first is stored: what does not fit the current version leaves nothing behind.
  for await (const _page of pages());
  const made = await openMap(
    deps,
    target,
    { acceptPickle: record.acceptPickle && acceptsPickles, quota },
    { key: record.key },
    record.id,
  );
  await appendPages(deps, { id: made.id, inlineBytes: 0, quota }, pages());
  await deps.state.maps.seal(made.id);
  return made;
}

/** Lines of the failed inputs, in order. */
async function* linesOf(deps: GatewayDeps, map: string, failed: Set<number>): AsyncGenerator<Buffer> {
  for (const first of await deps.state.maps.pages(map)) {
    const page = await storedPage(deps, map, first);
    const starts = lineOffsets(page);
    for (const [i, start] of starts.entries())
      if (failed.has(first + i))
        yield Buffer.concat([page.subarray(start, (starts[i + 1] ?? page.length + 1) - 1), NEWLINE]);
  }
}

const NEWLINE = Buffer.from("\n");

async function storedPage({ state, objects }: GatewayDeps, map: string, first: number): Promise<Buffer> {
  const inline = await state.maps.page(map, first);
  if (inline) return inline;
  const object = await objects.get(pageKey(map, first));
  return object
    ? gather(object.body, object.length)
    : fail("input_gone", `inputs ${first}... of ${map} are not stored any more`, { id: map });
}
