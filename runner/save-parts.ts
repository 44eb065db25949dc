/** Saves the files of a checkpoint: what one container hands over, or the union of what a gang's ranks do, on whichever nodes they are. */
import type { FileHandle } from "node:fs/promises";
import { type CheckpointFile, REMOVING } from "../core/checkpoint.ts";
import { asFabricError, FabricError, fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { digestOf, type Saved, saveFile } from "./checkpoint-files.ts";
import { filesBelow, openBelow, relativePath } from "./open-below.ts";

/** A folder of files to save, relative to a container's scratch; of a gang, that of a rank. */
export interface Part {
  rank?: number;
  /** On this node the folder; for another node's saver its container. */
  scratch: string;
  directory: string;
  /** Absent: this node's. */
  saver?: Saver;
}

export interface Wanted {
  part: Part;
  path: string;
}

export interface SavedFile {
  file: CheckpointFile;
  sample: string;
}

/** Reads what is in the containers of one node. */
export interface Saver {
  /** The part's files, relative to its folder. */
  list(part: Part): Promise<string[]>;
  /**
   * Saves `own` below `prefix`, and answers the digests of `shared`. Once it has resolved or rejected nothing is written any more;
   * aborted it rejects soon.
   */
  save(own: readonly Wanted[], shared: readonly Wanted[], to: Target, signal: AbortSignal): Promise<SavedHere>;
}

interface Target {
  prefix: string;
  before: Saved | undefined;
  /** What is there is not saved again; what is saved is added. */
  sent: Sent;
}

/** By path, what is in the bucket already of a save that an outage interrupted. */
export type Sent = Map<string, SavedFile>;

export interface SavedHere {
  saved: SavedFile[];
  digests: string[];
}

const FILES_AT_ONCE = 4;

/** Of a path that several ranks have, the lowest rank's file is saved. One that fails fails them all, by its rank's name. */
export async function saveParts(
  objects: ObjectStore,
  prefix: string,
  parts: readonly Part[],
  before: Saved | undefined,
  sent: Sent = new Map(),
): Promise<{ files: CheckpointFile[]; samples: Map<string, string>; warnings: string[] }> {
  const here = scratchSaver(objects);
  const saverOf = ({ saver }: Part): Saver => saver ?? here;
  const owners = new Map<string, Part>();
  const shared: Wanted[] = [];
  const lists = await Promise.all(parts.map((part) => saverOf(part).list(part)));
  for (const [i, part] of parts.entries())
    for (const path of lists[i]!)
      if (owners.has(path)) shared.push({ part, path });
      else owners.set(path, part);
  const own = [...owners].map(([path, part]): Wanted => ({ part, path }));
  const all = await together([...new Set(parts.map(saverOf))], async (saver, signal) => {
    const isIts = ({ part }: Wanted): boolean => saverOf(part) === saver;
    const its = { own: own.filter(isIts), shared: shared.filter(isIts) };
    return { ...its, ...(await saver.save(its.own, its.shared, { prefix, before, sent }, signal)) };
  });
  const saved = new Map(all.flatMap((one) => one.saved.map((file): [string, SavedFile] => [file.file.path, file])));
  const warnings = all.flatMap((one) =>
    one.shared.flatMap(({ part, path }, i) =>
      one.digests[i] === saved.get(path)!.file.sha256
        ? []
        : [`${path} of rank ${part.rank} differs from rank ${owners.get(path)!.rank}'s, which was saved`],
    ),
  );
  const files = own.map(({ path }) => saved.get(path)!.file);
  return { files, samples: new Map([...saved].map(([path, { sample }]) => [path, sample])), warnings };
}

/** The first that fails stops the others, and is told when all have ended: what is removed afterwards must not be written again. */
async function together<One, Done>(
  all: readonly One[],
  act: (one: One, signal: AbortSignal) => Promise<Done>,
): Promise<Done[]> {
  const stop = new AbortController();
  const failures: unknown[] = [];
  const done = await Promise.all(
    all.map(async (one) => {
      try {
        return [await act(one, stop.signal)];
      } catch (thrown) {
        failures.push(thrown);
        stop.abort();
        return [];
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
  return done.flat();
}

/** Of this node. */
export function scratchSaver(objects: ObjectStore): Saver {
  return {
    list: (part) => named(part, () => list(part)),
    async save(own, shared, { prefix, before, sent }, signal) {
      const saved = await several(own, signal, async ({ path }, handle) => {
        const one = sent.get(path) ?? (await saveFile(objects, handle, path, prefix, before, signal));
        sent.set(path, one);
        return one;
      });
      const digests = await several(shared, signal, async (_one, handle) => {
        const { size } = await handle.stat();
        return digestOf(handle, size);
      });
      return { saved, digests };
    },
  };
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

/** Resolves when all have ended, also behind a failure. */
async function several<T>(
  wanted: readonly Wanted[],
  signal: AbortSignal,
  act: (one: Wanted, handle: FileHandle) => Promise<T>,
): Promise<T[]> {
  const done: T[] = [];
  let next = 0;
  const some = async (_one: number, failed: AbortSignal): Promise<void> => {
    while (!failed.aborted && next < wanted.length) {
      signal.throwIfAborted();
      const i = next++;
      done[i] = await withFile(wanted[i]!, act);
    }
  };
  await together([...Array(FILES_AT_ONCE).keys()], some);
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
