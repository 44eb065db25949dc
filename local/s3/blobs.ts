/** Immutable bytes on disk, each under an id of its own; nothing refers to one until it is whole and durable. */
import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, type FileHandle, link, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, syncDir, withFile } from "./disk.ts";
import type { ByteRange } from "./range.ts";

export interface BlobRef {
  id: string;
  size: number;
}

export interface Blobs {
  write(stream: AsyncIterable<Buffer>): Promise<BlobRef>;
  /** The same bytes under another id, without copying them. */
  duplicate(ref: BlobRef): Promise<BlobRef>;
  /** Keeps blobs from vanishing while somebody reads them; the returned function lets go. */
  pin(refs: BlobRef[]): () => Promise<void>;
  /** Fails when a blob is not there as it was written. */
  check(refs: BlobRef[]): Promise<void>;
  read(refs: BlobRef[], range: ByteRange): AsyncGenerator<Buffer>;
  /** Removes them, or has the last reader do it. */
  discard(refs: BlobRef[]): Promise<void>;
  /** Removes every blob that is not among the living: what a crash left behind. Returns how many. */
  sweep(living: Set<string>): Promise<number>;
}

const WRITE_BYTES = 1024 * 1024;
/** Large bodies go to the disk on the way, so that the last fsync is not a long one. */
const SYNC_BYTES = 64 * 1024 * 1024;
const READ_BYTES = 512 * 1024;

export function blobs(dir: string): Blobs {
  const pins = new Map<string, number>();
  const doomed = new Set<string>();
  const pathOf = (id: string): string => join(dir, id);
  const newId = (): string => randomBytes(16).toString("hex");

  async function discard(refs: BlobRef[]): Promise<void> {
    for (const { id } of refs) {
      if (pins.has(id)) doomed.add(id);
      else await rm(pathOf(id), { force: true });
    }
  }

  return {
    discard,
    async write(stream) {
      const id = newId();
      try {
        const size = await withFile(pathOf(id), "wx", (file) => pour(stream, file));
        await syncDir(dir);
        return { id, size };
      } catch (error) {
        await rm(pathOf(id), { force: true });
        throw error;
      }
    },
    async duplicate({ id, size }) {
      const made = newId();
      try {
        await link(pathOf(id), pathOf(made));
      } catch (error) {
        if (!["EMLINK", "EPERM", "ENOTSUP"].includes(codeOf(error) ?? "")) throw error;
        await copyFile(pathOf(id), pathOf(made));
        await withFile(pathOf(made), "r", (file) => file.datasync());
      }
      await syncDir(dir);
      return { id: made, size };
    },
    pin(refs) {
      for (const { id } of refs) pins.set(id, (pins.get(id) ?? 0) + 1);
      let held = true;
      return async () => {
        if (!held) return;
        held = false;
        for (const { id, size } of refs) {
          const left = pins.get(id)! - 1;
          if (left > 0) pins.set(id, left);
          else pins.delete(id);
          if (left === 0 && doomed.delete(id)) await discard([{ id, size }]);
        }
      };
    },
    async check(refs) {
      for (const { id, size } of refs)
        if ((await stat(pathOf(id))).size !== size) throw new Error(`blob ${id} does not have its ${size} bytes`);
    },
    async *read(refs, { start, end }) {
      let from = 0;
      for (const { id, size } of refs) {
        const [first, last] = [Math.max(start - from, 0), Math.min(end - from, size - 1)];
        from += size;
        if (first <= last) yield* createReadStream(pathOf(id), { start: first, end: last, highWaterMark: READ_BYTES });
      }
    },
    async sweep(living) {
      let swept = 0;
      for (const id of await readdir(dir)) {
        if (living.has(id)) continue;
        await rm(pathOf(id), { force: true });
        swept++;
      }
      return swept;
    },
  };
}

/** Writes one batch while the next one is received and hashed. */
async function pour(stream: AsyncIterable<Buffer>, file: FileHandle): Promise<number> {
  let size = 0;
  let unsynced = 0;
  let batch: Buffer[] = [];
  let batchBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (chunks: Buffer[], sync: boolean): Promise<void> => {
    await writeAll(file, chunks);
    if (sync) await file.datasync();
  };
  try {
    for await (const chunk of stream) {
      batch.push(chunk);
      batchBytes += chunk.length;
      if (batchBytes < WRITE_BYTES) continue;
      await writing;
      size += batchBytes;
      unsynced += batchBytes;
      const sync = unsynced >= SYNC_BYTES;
      if (sync) unsynced = 0;
      writing = flush(batch, sync);
      // It is awaited before the next one; until then a failure must not count as unhandled.
      writing.catch(() => undefined);
      batch = [];
      batchBytes = 0;
    }
  } finally {
    await writing;
  }
  await flush(batch, true);
  return size + batchBytes;
}

/** Writing may stop short, as on a disk that is nearly full. */
async function writeAll(file: FileHandle, chunks: Buffer[]): Promise<void> {
  let rest = chunks;
  while (rest.length > 0) {
    let { bytesWritten } = await file.writev(rest);
    while (rest.length > 0 && bytesWritten >= rest[0]!.length) {
      bytesWritten -= rest[0]!.length;
      rest = rest.slice(1);
    }
    if (rest.length > 0 && bytesWritten > 0) rest = [rest[0]!.subarray(bytesWritten), ...rest.slice(1)];
  }
}
