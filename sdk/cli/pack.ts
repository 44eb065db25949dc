/** A source tree as a tar.gz: the same files make the same bytes, so that an unchanged app is an unchanged version. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type Pack, pack as tarPack } from "tar-stream";
import { FabricError } from "../../core/errors.ts";
import { type SourceFile, sourceFiles } from "./source-files.ts";

export interface Bundle {
  sha256: string;
  size: number;
  files: number;
  open(): ReadableStream<Uint8Array>;
  discard(): Promise<void>;
}

/** @param extra files to add at the root, e.g. functions sent by value. */
export async function pack(root: string, extra: ReadonlyMap<string, Buffer> = new Map()): Promise<Bundle> {
  const folder = await mkdtemp(join(tmpdir(), "fabric-bundle-"));
  const path = join(folder, "source.tar.gz");
  try {
    const files = (await sourceFiles(root)).filter(({ name }) => !extra.has(name));
    const hash = createHash("sha256");
    let size = 0;
    const measure = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const bytes = size === 0 ? withoutMachine(chunk) : chunk;
        size += bytes.length;
        hash.update(bytes);
        done(null, bytes);
      },
    });
    const tar = tarPack();
    const written = pipeline(tar, createGzip(), measure, createWriteStream(path));
    const [filled, stored] = await Promise.allSettled([fill(tar, files, extra), written]);
    // Each ends the other; the file's name is only in what filling says.
    if (filled.status === "rejected" && filled.reason instanceof FabricError) throw filled.reason;
    for (const one of [stored, filled]) if (one.status === "rejected") throw one.reason;
    return {
      sha256: hash.digest("hex"),
      size,
      files: files.length + extra.size,
      open: () => Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>,
      discard: () => rm(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Byte 9 of a gzip stream names the operating system that wrote it; 255 is "unknown". */
function withoutMachine(chunk: Buffer): Buffer {
  const copy = Buffer.from(chunk);
  if (copy.length > 9) copy[9] = 255;
  return copy;
}

const EPOCH = new Date(0);
/** tar-stream's word for an entry that got more or less than its header says. */
const SIZE_DIFFERS = "Size mismatch";

const changedMeanwhile = ({ name, size }: SourceFile, cause: Error): FabricError =>
  new FabricError(
    "archive_invalid",
    `${name} changed while it was packed: it had ${size} bytes. Deploy again when nothing writes to it, or name it in .fabricignore`,
    undefined,
    { cause },
  );

async function fill(tar: Pack, files: readonly SourceFile[], extra: ReadonlyMap<string, Buffer>): Promise<void> {
  try {
    for (const file of files) {
      const header = { name: file.name, size: file.size, mode: file.executable ? 0o755 : 0o644, mtime: EPOCH };
      const entry = tar.entry({ ...header, uid: 0, gid: 0 });
      await pipeline(createReadStream(file.path), entry).catch((error: Error) => {
        throw error.message === SIZE_DIFFERS ? changedMeanwhile(file, error) : error;
      });
    }
    for (const [name, content] of [...extra].sort(([a], [b]) => (a < b ? -1 : 1)))
      await new Promise<void>((resolve, reject) => {
        tar.entry({ name, mode: 0o644, mtime: EPOCH, uid: 0, gid: 0 }, content, (error) =>
          error ? reject(error) : resolve(),
        );
      });
    tar.finalize();
  } catch (error) {
    tar.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}
