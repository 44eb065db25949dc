/** Unpacks a source archive into a fresh folder; every entry is judged again here, whoever checked it before. */
import { createWriteStream } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import tar from "tar-stream";
import { FabricError, fail } from "../core/errors.ts";

export const MAX_ENTRIES = 100_000;

/** Why an entry may not be unpacked; `undefined` when it may. Pure, for tests. */
export function entryFault(name: string, type: string): string | undefined {
  if (type !== "file" && type !== "directory") return `is a ${type}`;
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (name.startsWith("/") || name.includes("\0") || name.includes("\\")) return "has no plain relative path";
  if (parts.includes("..")) return "leads outside the archive";
  return undefined;
}

export async function unpack(archive: Readable, folder: string, maxBytes: number): Promise<void> {
  const extract = tar.extract();
  const reading = pipeline(archive, createGunzip(), extract);
  // The loop below meets the same failure; without this it would also count as unhandled.
  reading.catch(() => {});
  let bytes = 0;
  let entries = 0;
  try {
    for await (const entry of extract) {
      const { name, type, mode, size } = entry.header;
      const fault = entryFault(name, type ?? "unknown entry");
      if (fault) fail("archive_invalid", `${name} ${fault}`);
      bytes += size ?? 0;
      if (++entries > MAX_ENTRIES || bytes > maxBytes)
        fail("archive_too_large", `the archive unpacks to more than ${maxBytes} bytes or ${MAX_ENTRIES} entries`);
      const path = join(folder, name);
      if (type === "directory") {
        await mkdir(path, { recursive: true, mode: 0o755 });
        entry.resume();
      } else {
        await mkdir(dirname(path), { recursive: true, mode: 0o755 });
        const executable = ((mode ?? 0) & 0o100) !== 0;
        await pipeline(entry, createWriteStream(path, { flags: "wx", mode: executable ? 0o755 : 0o644 }));
      }
    }
    await reading;
  } catch (thrown) {
    if (thrown instanceof FabricError) throw thrown;
    if ((thrown as NodeJS.ErrnoException).code === "ENOSPC") throw thrown;
    throw new FabricError("archive_invalid", `the source archive is damaged: ${(thrown as Error).message}`, undefined, {
      cause: thrown,
    });
  }
  await chmod(folder, 0o755);
}
