/** Opens what a function saved without ever leaving its scratch directory: no links, no devices, no races. */
import { constants } from "node:fs";
import { type FileHandle, open, opendir, readlink, realpath } from "node:fs/promises";
import { join, normalize, sep } from "node:path";
import { fail } from "../core/errors.ts";

const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const FOLDER_FLAGS = FILE_FLAGS | constants.O_DIRECTORY;
/** A checkpoint with more entries than this is a mistake or an attack. */
export const MAX_FILES = 10_000;
const MAX_DEPTH = 32;

const invalid = (path: string, why: string): never => fail("checkpoint_invalid", `${path}: ${why}`);

/** The path the kernel resolved is the judge: the text we asked for may have changed its meaning while we asked. */
async function insist(handle: FileHandle, root: string, path: string): Promise<void> {
  const real = await readlink(`/proc/self/fd/${handle.fd}`);
  if (real !== root && !real.startsWith(root + sep)) invalid(path, "lies outside the scratch directory");
}

async function openChecked(root: string, path: string, flags: number): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(join(root, path), flags);
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code ?? "unknown";
    const why = { ELOOP: "is a link", ENOTDIR: "is no directory", ENOENT: "does not exist", ENXIO: "is no plain file" };
    return invalid(path, why[code as keyof typeof why] ?? `cannot be opened (${code})`);
  }
  try {
    await insist(handle, root, path);
    return handle;
  } catch (thrown) {
    await handle.close();
    throw thrown;
  }
}

/** Opens a regular file below `scratch`; the caller closes it. */
export async function openBelow(scratch: string, path: string): Promise<FileHandle> {
  const root = await realpath(scratch);
  const handle = await openChecked(root, path, FILE_FLAGS);
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    return invalid(path, "is no plain file");
  }
  return handle;
}

/** A relative path without `..`, as the shim may name it. */
export function relativePath(path: string): string {
  const clean = normalize(path);
  if (path.includes("\0") || clean.startsWith("/") || clean.split(sep).includes(".."))
    invalid(path, "is not a path below scratch");
  return clean.endsWith(sep) ? clean.slice(0, -1) : clean;
}

/** Regular files below `directory`, relative to it, sorted. Anything else below it is refused. */
export async function filesBelow(scratch: string, directory: string): Promise<string[]> {
  const root = await realpath(scratch);
  const found: string[] = [];
  const walk = async (inside: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) invalid(inside, `nests deeper than ${MAX_DEPTH} folders`);
    const folder = await openChecked(root, join(directory, inside), FOLDER_FLAGS);
    try {
      // Through the handle: a folder swapped for a link after the check is not what is read.
      for await (const entry of await opendir(`/proc/self/fd/${folder.fd}`)) {
        const path = inside === "" ? entry.name : `${inside}/${entry.name}`;
        if (entry.isDirectory()) await walk(path, depth + 1);
        else if (entry.isFile()) found.push(path);
        else invalid(path, entry.isSymbolicLink() ? "is a link" : "is no plain file");
        if (found.length > MAX_FILES) invalid(directory, `holds more than ${MAX_FILES} files`);
      }
    } finally {
      await folder.close();
    }
  };
  await walk("", 0);
  return found.sort();
}
