/** The part of the live state that keeps what generators yield. */
import type { InvocationState } from "./invocation.ts";
import type { Attempt } from "./state-store.ts";

/** Chunks in one piece, as `encodeBatch` made it: in the store, or in the bucket under `key`. */
export type StoredBatch = { first: number; count: number } & ({ data: Buffer } | { key: string });

/** What is stored of an attempt's chunks; those from `tailFirst` on are in the store itself, `tailBytes` of them. */
export interface ChunkExtent {
  next: number;
  tailFirst: number;
  tailBytes: number;
}

export interface FollowedInvocation {
  state: InvocationState;
  generation: number;
  /** The attempt whose chunks are stored, and how many of them. */
  chunks?: { generation: number; count: number };
  container?: string;
  reason?: string;
  dueAt?: number;
  /** Chunks of the generation asked for, from the position on, not all of them. */
  batches: StoredBatch[];
}

/** What generators yield. Chunks of a new generation replace those of the one before; all expire with the record. */
export interface ChunkStore {
  /**
   * Adds a batch whose first chunk is the next one. Otherwise nothing changes, and the extent says what there is: repeating
   * is harmless. `stale`: the attempt is not the owner any more.
   */
  append(attempt: Attempt, batch: { first: number; count: number; data: Buffer }): Promise<ChunkExtent | "stale">;
  /** Batches of the tail. */
  tail(id: string): Promise<Buffer[]>;
  /** The tail `from` so far becomes one object of the bucket with `count` chunks, further ones included. Else as `append`. */
  spill(attempt: Attempt, from: ChunkExtent, segment: { count: number; key: string }): Promise<ChunkExtent | "stale">;
  /** About `bytes` of chunks from a position on; changes are hinted by `onChange` from now on. */
  follow(
    id: string,
    position: { generation: number; next: number },
    bytes: number,
  ): Promise<FollowedInvocation | undefined>;
}
