/** ChunkStore on Redis: a stream of the latest batches and a stream of the segments before them, per invocation. */

import type { ChunkExtent, ChunkStore, StoredBatch } from "../chunk-store.ts";
import type { InvocationState } from "../invocation.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

/** About what Redis needs for an entry of a stream beyond its value. */
const ENTRY_BYTES = 64;

export function chunkStore({ redis, run, safely }: Commands, keys: RedisKeys): ChunkStore {
  const keysOf = (id: string): string[] => [keys.record(id), keys.chunkTail(id), keys.chunkSegments(id)];
  return {
    async append({ id, generation }, { first, count, data }) {
      return extentOf(await run("append-chunks", keysOf(id), [generation, first, count, data, ENTRY_BYTES]));
    },

    tail: (id) =>
      safely(async () => {
        const entries = await redis.xrangeBuffer(keys.chunkTail(id), "-", "+");
        return entries.map(([, fields]) => fields[3]!);
      }),

    async spill({ id, generation }, { next, tailFirst }, { count, key }) {
      return extentOf(await run("spill-chunks", keysOf(id), [generation, tailFirst, next, count, key]));
    },

    async follow(id, { generation, next }, bytes) {
      const reply = await run("follow", keysOf(id), [keys.channels.follow(id), generation, next, bytes]);
      if (!reply) return undefined;
      const [state, current, yielding, count, container, reason, due, batches] = reply as [...Buffer[], Buffer[][]];
      const of = Number(yielding);
      return {
        state: String(state) as InvocationState,
        generation: Number(current),
        chunks: of === 0 ? undefined : { generation: of, count: Number(count) },
        container: String(container) || undefined,
        reason: String(reason) || undefined,
        dueAt: Number(due) || undefined,
        batches: (batches as Buffer[][]).map(batchOf),
      };
    },
  };
}

function extentOf(reply: unknown): ChunkExtent | "stale" {
  if (!reply) return "stale";
  const [next, tailFirst, tailBytes] = reply as [number, number, number];
  return { next, tailFirst, tailBytes };
}

function batchOf([first, count, data, key]: Buffer[]): StoredBatch {
  const where = { first: Number(first), count: Number(count) };
  return key!.length > 0 ? { ...where, key: key!.toString() } : { ...where, data: data! };
}
