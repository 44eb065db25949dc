/** What generators yield, as it is stored: chunks numbered from 0 within one attempt, kept in batches. */

import type { Encoding } from "./encoding.ts";
import { newId } from "./ids.ts";

export interface Chunk {
  encoding: Encoding;
  body: Buffer;
}

/** A batch up to this size may live in Redis; a larger one goes to the bucket. */
export const BATCH_INLINE_BYTES = 64 * 1024;
/** What one running generator may hold of Redis; beyond it, all that is there moves to the bucket. */
export const TAIL_BYTES = 1024 * 1024;
/** What a generator that has ended may hold of it. */
export const ENDED_TAIL_BYTES = 8 * 1024;

/** The last part keeps attempts to store the same chunks apart. */
export const chunkKey = (id: string, generation: number, first: number): string =>
  `invocations/${id}/g${generation}/chunks/${String(first).padStart(12, "0")}-${newId("seg")}`;

const HEAD = 5;
const ENCODINGS: readonly Encoding[] = ["json", "pickle"];

/** Each chunk as one byte for its encoding, its length (u32, big-endian) and its body. */
export function encodeBatch(chunks: readonly Chunk[]): Buffer {
  const parts: Buffer[] = [];
  for (const { encoding, body } of chunks) {
    const head = Buffer.allocUnsafe(HEAD);
    head.writeUInt8(ENCODINGS.indexOf(encoding), 0);
    head.writeUInt32BE(body.length, 1);
    parts.push(head, body);
  }
  return Buffer.concat(parts);
}

/** Call with each piece of a batch as it arrives; answers the chunks that are whole. */
export function batchDecoder(): (piece: Buffer) => Chunk[] {
  let held: Buffer = Buffer.alloc(0);
  return (piece) => {
    let rest = held.length === 0 ? piece : Buffer.concat([held, piece]);
    const chunks: Chunk[] = [];
    while (rest.length >= HEAD) {
      const end = HEAD + rest.readUInt32BE(1);
      if (rest.length < end) break;
      chunks.push({ encoding: ENCODINGS[rest.readUInt8(0)]!, body: rest.subarray(HEAD, end) });
      rest = rest.subarray(end);
    }
    held = rest;
    return chunks;
  };
}
