/** What happens to an invocation, from a position in its chunks to its end, whatever gateway or runner comes and goes. */

import { missing } from "./await-outcome.ts";
import type { FollowedInvocation, StoredBatch } from "./chunk-store.ts";
import { batchDecoder } from "./chunks.ts";
import type { Clock } from "./clock.ts";
import { doorbell } from "./doorbell.ts";
import { fail } from "./errors.ts";
import { type InvocationRecord, isTerminal, resultDataKey } from "./invocation.ts";
import type { InvocationEvent, Position } from "./invocation-event.ts";
import type { ObjectStore } from "./object-store.ts";
import { reasonOf } from "./show-invocation.ts";
import { gather } from "./sized-body.ts";
import type { StateStore } from "./state-store.ts";
import { isOutage } from "./until-done.ts";

/** A lost hint delays an event by this much; longer while nothing happens. */
const FIRST_LOOK_MS = 500;
const LONGEST_GAP_MS = 5_000;
/** Chunks of one look, about; a segment of the bucket comes whole, which is at most twice TAIL_BYTES. */
const LOOK_BYTES = 256 * 1024;
/** Bytes of chunks that are turned into events at a time. */
const PIECE_BYTES = 64 * 1024;

interface Deps {
  state: Pick<StateStore, "invocations" | "chunks" | "hints">;
  objects: ObjectStore;
  clock: Clock;
}

/** Events that are there at the same time come together. The last one is `end`, unless `signal` aborts. */
export async function* followInvocation(
  deps: Deps,
  id: string,
  after: Position | undefined,
  signal: AbortSignal,
): AsyncGenerator<InvocationEvent[]> {
  const bell = doorbell(deps.clock, signal);
  const stop = await deps.state.hints.onChange(id, bell.ring);
  const at = { generation: 1, next: 0, ...after };
  let told: string | undefined;
  let gap = FIRST_LOOK_MS;
  try {
    while (!signal.aborted) {
      try {
        const seen = (await deps.state.chunks.follow(id, at, LOOK_BYTES)) ?? missing(id);
        const state = stateEvent(id, seen);
        if (state && JSON.stringify(state) !== told) yield [state];
        told = state && JSON.stringify(state);
        if (seen.batches.length > 0) gap = FIRST_LOOK_MS;
        yield* chunkEvents(deps.objects, seen.batches, at);
        if (hasMore(seen, at)) {
          if (seen.chunks.generation > at.generation) yield* startOver(seen.chunks.generation, at);
          continue;
        }
        if (isTerminal(seen.state)) {
          yield endEvents((await deps.state.invocations.get(id)) ?? missing(id), at);
          return;
        }
      } catch (error) {
        // Readers outlast outages: what was stored before one is still there after it.
        if (!isOutage(error)) throw error;
        gap = FIRST_LOOK_MS;
      }
      await bell.wait(gap);
      gap = Math.min(gap * 2, LONGEST_GAP_MS);
    }
  } finally {
    stop();
  }
}

type WithChunks = FollowedInvocation & { chunks: { generation: number; count: number } };
const hasMore = (seen: FollowedInvocation, at: Position): seen is WithChunks =>
  seen.chunks !== undefined &&
  (seen.chunks.generation > at.generation || (seen.chunks.generation === at.generation && at.next < seen.chunks.count));

/** Nothing is void for a reader who has seen nothing. */
function* startOver(generation: number, at: Position): Generator<InvocationEvent[]> {
  if (at.next > 0) yield [{ type: "restart", generation }];
  Object.assign(at, { generation, next: 0 });
}

function stateEvent(id: string, seen: FollowedInvocation): InvocationEvent | undefined {
  const { state, generation } = seen;
  return isTerminal(state) ? undefined : { type: "state", id, state, generation, reason: reasonOf(seen) };
}

async function* chunkEvents(
  objects: ObjectStore,
  batches: readonly StoredBatch[],
  at: Position,
): AsyncGenerator<InvocationEvent[]> {
  for (const batch of batches) {
    const data = "data" in batch ? batch.data : await fetchSegment(objects, batch.key);
    const decode = batchDecoder();
    let n = batch.first;
    for (let from = 0; from < data.length; from += PIECE_BYTES) {
      const chunks = decode(data.subarray(from, from + PIECE_BYTES)).map((chunk) => ({ n: n++, chunk }));
      const wanted = chunks.filter((one) => one.n >= at.next);
      at.next = Math.max(at.next, n);
      if (wanted.length > 0) yield wanted.map((one) => ({ type: "chunk", generation: at.generation, ...one }));
    }
  }
}

/** At once and as a whole: a slow reader must not keep one of the few connections to the bucket. */
async function fetchSegment(objects: ObjectStore, key: string): Promise<Buffer> {
  const object = await objects.get(key);
  if (!object) return fail("internal", `chunks at ${key} are not in the bucket`);
  try {
    return await gather(object.body, object.length);
  } catch (cause) {
    return fail("storage_unavailable", `reading ${key} broke off`, undefined, { cause });
  }
}

/** An attempt that yielded nothing also makes void what the one before yielded, unless it ended with that one's result. */
function endEvents(record: InvocationRecord, at: Position): InvocationEvent[] {
  const { id, generation, state, result } = record;
  const isOthers = generation > at.generation && result?.key !== resultDataKey(id, at.generation);
  const restart = { type: "restart" as const, generation };
  return [...(state === "succeeded" && at.next > 0 && isOthers ? [restart] : []), { type: "end", record }];
}
