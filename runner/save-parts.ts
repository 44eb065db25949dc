/** Saves the files of a checkpoint: what one container hands over, or the union of what a gang's ranks do. */
import type { FileHandle } from "node:fs/promises";
import { type CheckpointFile, REMOVING } from "../core/checkpoint.ts";
import { asFabricError, FabricError, fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { digestOf, type Saved, saveFile } from "./checkpoint-files.ts";
import { filesBelow, openBelow, relativePath } from "./open-below.ts";

/** A folder of files to save, relative to a container's scratch; of a gang, that of a rank. */
export interface Part {
  rank?: number;
  scratch: string;
  directory: string;
}

interface Wanted {
  part: Part;
  path: string;
}

const FILES_AT_ONCE = 4;

/** By path, what is in the bucket already of a save that an outage interrupted. */
export type Sent = Map<string, Awaited<ReturnType<typeof saveFile>>>;

/** Of a path that several ranks have, the lowest rank's file is saved. One that fails fails them all, by its rank's name. */
export async function saveParts(
  objects: ObjectStore,
  prefix: string,
  parts: readonly Part[],
  before: Saved | undefined,
  sent: Sent = new Map(),
): Promise<{ files: CheckpointFile[]; samples: Map<string, string>; warnings: string[] }> {
  const owners = new Map<string, Part>();
  const shared: Wanted[] = [];
  for (const part of parts)
    for (const path of await named(part, () => list(part)))
      if (owners.has(path)) shared.push({ part, path });
      else owners.set(path, part);
  const own = [...owners].map(([path, part]): Wanted => ({ part, path }));
  const saved = await several(own, async ({ path }, handle) => {
    const one = sent.get(path) ?? (await saveFile(objects, handle, path, prefix, before));
    sent.set(path, one);
    return one;
  });
  const files = saved.map(({ file }) => file);
  const hashes = new Map(files.map(({ path, sha256 }) => [path, sha256]));
  const warnings = await several(shared, async ({ part, path }, handle) => {
    const { size } = await handle.stat();
    if ((await digestOf(handle, size)) === hashes.get(path)) return [];
    return [`${path} of rank ${part.rank} differs from rank ${owners.get(path)!.rank}'s, which was saved`];
  });
  return { files, samples: new Map(saved.map(({ file, sample }) => [file.path, sample])), warnings: warnings.flat() };
}

/** What an outage left half-way, or unheard of: it is sent again. */
export async function removeUnsent(objects: ObjectStore, prefix: string, sent: Sent): Promise<void> {
  const keys: string[] = [];
  for await (const entry of objects.list(prefix))
    if (entry.kind === "object" && !sent.has(entry.key.slice(prefix.length))) keys.push(entry.key);
  for (const key of keys) await objects.delete(key);
}

async function list({ scratch, directory }: Part): Promise<string[]> {
  const names = await filesBelow(scratch, relativePath(directory));
  for (const own of ["manifest.json", REMOVING])
    if (names.includes(own)) fail("checkpoint_invalid", `${own} is fabric's own name in a checkpoint`);
  return names;
}

/** Resolves when all have ended, also behind a failure: what is removed afterwards must not be written again. */
async function several<T>(wanted: readonly Wanted[], act: (one: Wanted, handle: FileHandle) => Promise<T>) {
  const done: T[] = [];
  let next = 0;
  let failed = false;
  const some = async (): Promise<void> => {
    while (!failed && next < wanted.length) {
      const i = next++;
      try {
        done[i] = await withFile(wanted[i]!, act);
      } catch (thrown) {
        failed = true;
        throw thrown;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: FILES_AT_ONCE }, some));
  for (const one of ended) if (one.status === "rejected") throw one.reason;
  return done;
}

function withFile<T>(one: Wanted, act: (one: Wanted, handle: FileHandle) => Promise<T>): Promise<T> {
  const { part, path } = one;
  return named(part, async () => {
    const handle = await openBelow(part.scratch, `${relativePath(part.directory)}/${path}`);
    try {
      return await act(one, handle);
    } finally {
      await handle.close();
    }
  });
}

async function named<T>({ rank }: Part, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (thrown) {
    const { code, message, details } = asFabricError(thrown);
    if (rank === undefined || code === "internal") throw thrown;
    throw new FabricError(code, `rank ${rank}: ${message}`, { ...details, rank }, { cause: thrown });
  }
}
