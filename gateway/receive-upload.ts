/** Receives an uploaded archive into a file of its own, checked before anybody else sees it and gone afterwards. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { FabricError, fail } from "../core/errors.ts";
import { ARCHIVE_LIMITS, checkArchive } from "./check-archive.ts";
import { announcedBytes, interrupted } from "./read-body.ts";

export interface ReceivedArchive {
  /** A folder of its own, for what the caller wants to put beside it. */
  dir: string;
  file: string;
  sha256: string;
  size: number;
}

export async function withUploadedArchive<T>(
  request: Request,
  options: { tempDir: string; limitBytes: number },
  use: (archive: ReceivedArchive) => Promise<T>,
): Promise<T> {
  const announced = announcedBytes(request);
  if (announced !== undefined && announced > options.limitBytes) tooLarge(options.limitBytes);
  const dir = await mkdtemp(join(options.tempDir, "upload-"));
  try {
    const archive = await receive(request, dir, options.limitBytes);
    await checkArchive(archive.file, archive.size, { ...ARCHIVE_LIMITS, unpackedBytes: options.limitBytes });
    return await use(archive);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function receive(request: Request, dir: string, limitBytes: number): Promise<ReceivedArchive> {
  const file = join(dir, "archive.tar.gz");
  const digest = createHash("sha256");
  let size = 0;
  async function* counted(body: AsyncIterable<Buffer>) {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > limitBytes) tooLarge(limitBytes);
      digest.update(chunk);
      yield chunk;
    }
  }
  if (!request.body) fail("bad_request", "the body is empty; it is a tar.gz archive");
  try {
    const body = Readable.fromWeb(request.body as NodeReadableStream<Uint8Array>);
    await pipeline(body, counted, createWriteStream(file));
  } catch (cause) {
    // A full disk is ours; everything else that ends the stream is the connection.
    if (cause instanceof FabricError || (cause as NodeJS.ErrnoException).syscall === "write") throw cause;
    interrupted(cause);
  }
  return { dir, file, sha256: digest.digest("hex"), size };
}

const tooLarge = (limitBytes: number): never =>
  fail("archive_too_large", `the archive is larger than ${limitBytes} bytes`, { limitBytes });
