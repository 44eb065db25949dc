/** Reads a source archive entry by entry and refuses everything that is not a plain file or folder below its root. */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { FabricError, fail } from "../core/errors.ts";

export interface ArchiveLimits {
  /** Everything the archive unpacks to, headers included. */
  unpackedBytes: number;
  entries: number;
  /** Unpacked to packed, once more than `ratioFromBytes` are unpacked. */
  ratio: number;
  ratioFromBytes: number;
}

export const ARCHIVE_LIMITS: Omit<ArchiveLimits, "unpackedBytes"> = {
  entries: 50_000,
  ratio: 200,
  ratioFromBytes: 16 * 1024 * 1024,
};

const MAX_PATH_BYTES = 1024;
const SET_ID_OR_STICKY = 0o7000;

/** What an entry's name says, or a coded refusal. Pure, so that every attack is one line of a test. */
export function checkEntry(
  header: Pick<Header, "name" | "type" | "mode">,
  seen: Map<string, "file" | "directory">,
): string {
  const { name, type, mode } = header;
  const refuse = (why: string): never =>
    fail("archive_invalid", `entry ${JSON.stringify(name.slice(0, 200))}: ${why}`, { entry: name.slice(0, 200) });
  if (type !== "file" && type !== "directory")
    refuse(`is a ${type ?? "thing of unknown type"}, not a plain file or folder`);
  if ((mode ?? 0) & SET_ID_OR_STICKY) refuse("carries setuid, setgid or sticky bits");
  if (Buffer.byteLength(name) > MAX_PATH_BYTES) refuse("has too long a name");
  if (/[\p{Cc}\\\uFFFD]/u.test(name)) refuse("has control characters, a backslash or broken UTF-8 in its name");
  if (name.startsWith("/")) refuse("has an absolute name");
  const parts = name.split("/");
  if (type === "directory" && parts.at(-1) === "") parts.pop();
  while (parts[0] === ".") parts.shift();
  if (parts.some((part) => part === "" || part === "." || part === ".."))
    refuse("has '..', '.' or an empty part in its name");
  const path = parts.join("/");
  if (path === "" && type === "file") refuse("has no name");
  if (seen.has(path)) refuse("is there twice");
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
    if (seen.get(path.slice(0, end)) === "file") refuse("lies below a file");
  return path;
}

/** Throws `archive_invalid` or `archive_too_large`; answers what is inside. */
export async function checkArchive(
  file: string,
  packedBytes: number,
  limits: ArchiveLimits,
  signal?: AbortSignal,
): Promise<{ entries: number; unpackedBytes: number }> {
  const seen = new Map<string, "file" | "directory">();
  const folders = new Set<string>();
  const tar = extract();
  let unpackedBytes = 0;
  tar.on("entry", (header, body, next) => {
    try {
      if (seen.size >= limits.entries) fail("archive_invalid", `the archive has more than ${limits.entries} entries`);
      const path = checkEntry(header, seen);
      if (header.type === "file" && folders.has(path)) fail("archive_invalid", `entry ${path}: is a file and a folder`);
      seen.set(path, header.type as "file" | "directory");
      for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
        folders.add(path.slice(0, end));
    } catch (error) {
      tar.destroy(error as Error);
      return;
    }
    body.on("end", next);
    // An entry that is cut short fails beside its archive; unheard, that would end the process.
    body.on("error", (error) => tar.destroy(error));
    body.resume();
  });
  async function* counted(unpacked: AsyncIterable<Buffer>) {
    for await (const chunk of unpacked) {
      unpackedBytes += chunk.length;
      checkSize(unpackedBytes, packedBytes, limits);
      yield chunk;
    }
  }
  try {
    await pipeline(createReadStream(file), createGunzip(), counted, tar, { signal });
  } catch (cause) {
    if (cause instanceof FabricError || signal?.aborted) throw cause;
    fail("archive_invalid", `the archive is no tar.gz: ${(cause as Error).message}`, undefined, { cause });
  }
  if (seen.size === 0) fail("archive_invalid", "the archive is empty");
  return { entries: seen.size, unpackedBytes };
}

function checkSize(unpacked: number, packed: number, limits: ArchiveLimits): void {
  if (unpacked > limits.unpackedBytes)
    fail("archive_too_large", `the archive unpacks to more than ${limits.unpackedBytes} bytes`);
  if (unpacked > limits.ratioFromBytes && unpacked > packed * limits.ratio)
    fail("archive_invalid", `the archive unpacks to more than ${limits.ratio} times its size`);
}
