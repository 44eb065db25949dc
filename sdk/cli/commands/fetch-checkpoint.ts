/** Fetches a checkpoint's files into a folder, many ranges at once; a journal tells the next try which ones are there. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { appendFile, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import type { CheckpointFile, CheckpointManifest } from "../../../core/checkpoint.ts";
import { fail } from "../../../core/errors.ts";
import type { Client } from "../../typescript/client.ts";

const RANGE_BYTES = 16 * 1024 * 1024;
const AT_ONCE = 6;
const JOURNAL = ".fabric-pull";

interface Part {
  file: CheckpointFile;
  number: number;
}
type OnBytes = (count: number) => void;

/** Resolves when `folder` holds exactly the checkpoint's files, each with the right sha256. */
export async function fetchCheckpoint(
  client: Client,
  manifest: CheckpointManifest,
  folder: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  for (const { path } of manifest.files) pathIn(folder, path);
  const journal = await openJournal(folder, manifest);
  const missing: Part[] = [];
  const left = new Map<CheckpointFile, number>();
  for (const file of manifest.files) {
    left.set(file, 0);
    for (let number = 0; number < partsOf(file); number++) {
      if (journal.has(file.path, number)) onBytes(lengthOf({ file, number }));
      else {
        missing.push({ file, number });
        left.set(file, left.get(file)! + 1);
      }
    }
  }
  const verifyWhole = async (file: CheckpointFile): Promise<void> => {
    if (left.get(file) === 0) await verify(folder, file, journal);
  };
  let failed = false;
  const fetchSome = async (): Promise<void> => {
    try {
      for (let part = missing.shift(); part && !failed; part = missing.shift()) {
        await fetchPart(client, manifest, folder, part, signal, onBytes);
        await journal.add(part.file.path, part.number);
        left.set(part.file, left.get(part.file)! - 1);
        await verifyWhole(part.file);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  for (const file of manifest.files) await verifyWhole(file);
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, fetchSome));
  for (const one of ended) if (one.status === "rejected") throw one.reason;
  await rm(join(folder, JOURNAL));
}

const partsOf = ({ size }: CheckpointFile): number => Math.max(1, Math.ceil(size / RANGE_BYTES));
const lengthOf = ({ file, number }: Part): number => Math.min(RANGE_BYTES, file.size - number * RANGE_BYTES);

function pathIn(folder: string, path: string): string {
  const found = resolve(folder, path);
  if (!found.startsWith(folder + sep) || path === JOURNAL)
    fail("checkpoint_invalid", `the manifest names ${path}, outside its folder`);
  return found;
}

async function fetchPart(
  client: Client,
  { series, step }: CheckpointManifest,
  folder: string,
  part: Part,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  const { file, number } = part;
  const start = number * RANGE_BYTES;
  const range = partsOf(file) === 1 ? undefined : { start, end: start + lengthOf(part) - 1 };
  const response = await client.checkpointFile(series, step, file.path, { signal, range });
  if (range && response.status !== 206) fail("storage_unavailable", `${file.path} does not come in parts; try again`);
  const path = pathIn(folder, file.path);
  await mkdir(dirname(path), { recursive: true });
  const handle = await open(path, range ? "a" : "w").then(async (made) => {
    await made.close();
    return open(path, "r+");
  });
  let at = start;
  try {
    for await (const chunk of response.body ?? []) {
      if (at + chunk.length > start + lengthOf(part)) break;
      await handle.write(chunk, 0, chunk.length, at);
      at += chunk.length;
      onBytes(chunk.length);
    }
  } finally {
    await handle.close();
  }
  if (range && at !== start + lengthOf(part)) fail("storage_unavailable", `${file.path} broke off; try again`);
}

async function verify(folder: string, file: CheckpointFile, journal: Journal): Promise<void> {
  const path = pathIn(folder, file.path);
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  const sha256 = hash.digest("hex");
  if (sha256 === file.sha256) return;
  await rm(path);
  await journal.forget(file.path);
  fail("storage_unavailable", `${file.path} arrived damaged (sha256 ${sha256}, not ${file.sha256}); try again`);
}

interface Journal {
  has(path: string, number: number): boolean;
  add(path: string, number: number): Promise<void>;
  forget(path: string): Promise<void>;
}

/** Its first line says which checkpoint the folder is of: what is left of another one is removed. */
async function openJournal(folder: string, manifest: CheckpointManifest): Promise<Journal> {
  const file = join(folder, JOURNAL);
  const content = JSON.stringify([manifest.files, RANGE_BYTES]);
  const title = createHash("sha256").update(content).digest("hex");
  const before = await readFile(file, "utf8").catch(() => "");
  let lines = before.split("\n").slice(0, -1);
  if (lines[0] !== title) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await writeFile(file, `${title}\n`);
    lines = [title];
  }
  const known = new Set(lines.slice(1));
  const line = (path: string, number: number): string => JSON.stringify([path, number]);
  return {
    has: (path, number) => known.has(line(path, number)),
    add: (path, number) => appendFile(file, `${line(path, number)}\n`),
    async forget(path) {
      const rest = (await readFile(file, "utf8"))
        .split("\n")
        .filter((one) => !one.startsWith(`[${JSON.stringify(path)},`));
      await writeFile(file, rest.join("\n"));
    },
  };
}
