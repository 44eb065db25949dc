/** Stores what one attempt yields, batch by batch and in order, and lets the shim send more only then. */

import type { ChunkExtent, ChunkStore } from "../core/chunk-store.ts";
import { BATCH_INLINE_BYTES, type Chunk, chunkKey, ENDED_TAIL_BYTES, encodeBatch, TAIL_BYTES } from "../core/chunks.ts";
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { CHUNK_WINDOW, CHUNK_WINDOW_BYTES } from "../core/protocol.ts";
import type { Attempt } from "../core/state-store.ts";

export interface YieldsOptions {
  chunks: ChunkStore;
  objects: Pick<ObjectStore, "put">;
  /** Repeats through outages; throws once the attempt is another's. */
  lasting<T>(act: () => Promise<T>): Promise<T>;
  /** The chunks up to this one are stored. */
  onStored(seq: number): void;
  /** They cannot be stored, and not because of an outage. */
  onFailure(thrown: unknown): void;
}

export interface Yields {
  /** A chunk of the shim. Throws `protocol_violation` when it may not be sent. */
  accept(seq: number, chunk: Chunk): void;
  /** Everything accepted is stored, or the attempt is another's. Throws what `onFailure` was told. */
  drained(): Promise<void>;
  /** After the end: what is left in the store's memory moves to the bucket unless it is little. */
  archive(): Promise<void>;
}

/** `first` is the number of the first chunk that this runner sees: not 0 when it took the attempt over. */
export function createYields(options: YieldsOptions, me: Attempt, first: number): Yields {
  let held: Chunk[] = [];
  let unstored = 0;
  let unstoredBytes = 0;
  let next = first;
  let stored = first;
  let extent: ChunkExtent = { next: first, tailFirst: first, tailBytes: 0 };
  let storing: Promise<void> | undefined;
  let isOver = false;
  let failure: { thrown: unknown } | undefined;

  function accept(seq: number, { encoding, body }: Chunk): void {
    if (isOver) return;
    // Sent again after a reconnection; told again when it is stored, as the word of it may have been lost.
    if (seq < next) {
      if (seq < stored) options.onStored(stored - 1);
      return;
    }
    if (seq > next) fail("protocol_violation", `chunk ${seq} came instead of ${next}`);
    next++;
    unstored++;
    unstoredBytes += body.length;
    if (unstored > CHUNK_WINDOW || unstoredBytes > CHUNK_WINDOW_BYTES)
      fail("protocol_violation", "more was yielded than may wait to be stored");
    // The frame is a view on the socket's buffer, which must not be kept alive by a small chunk.
    held.push({ encoding, body: Buffer.from(body) });
    storing ??= new Promise((resolve) => setImmediate(resolve)).then(storeAll).finally(() => (storing = undefined));
  }

  async function storeAll(): Promise<void> {
    try {
      while (held.length > 0 && !isOver) {
        const batch = held;
        held = [];
        await options.lasting(() => store(batch));
        if (isOver) return;
        unstored -= batch.length;
        for (const { body } of batch) unstoredBytes -= body.length;
        stored += batch.length;
        options.onStored(stored - 1);
      }
    } catch (thrown) {
      isOver = true;
      failure = { thrown };
      options.onFailure(thrown);
    }
  }

  /** The store answers how far it is: a runner before this one, or a try whose answer was lost, may have been there. */
  async function store(batch: Chunk[]): Promise<void> {
    const end = stored + batch.length;
    for (let at = stored; at < end; ) {
      const answer = await add(at, batch.slice(at - stored));
      if (answer === "stale") {
        isOver = true;
        return;
      }
      extent = answer;
      if (extent.next < at) fail("internal", `chunk ${extent.next} of ${me.id} is lost`);
      at = extent.next;
    }
  }

  function add(at: number, batch: Chunk[]): Promise<ChunkExtent | "stale"> {
    const data = encodeBatch(batch);
    return data.length <= BATCH_INLINE_BYTES && extent.tailBytes + data.length <= TAIL_BYTES
      ? options.chunks.append(me, { first: at, count: batch.length, data })
      : spill(batch.length, data);
  }

  async function spill(count: number, data: Buffer): Promise<ChunkExtent | "stale"> {
    const from = extent;
    const tail = from.tailBytes > 0 ? await options.chunks.tail(me.id) : [];
    const key = chunkKey(me.id, me.generation, from.tailFirst);
    await options.objects.put(key, Buffer.concat([...tail, data]), { contentType: "application/octet-stream" });
    return options.chunks.spill(me, from, { count: from.next - from.tailFirst + count, key });
  }

  return {
    accept,
    async drained() {
      await storing;
      if (failure) throw failure.thrown;
    },
    async archive() {
      if (!isOver && extent.tailBytes > ENDED_TAIL_BYTES) await options.lasting(() => spill(0, Buffer.alloc(0)));
    },
  };
}
