/** `fabric checkpoint pull`: all files of a checkpoint, verified, under their final name only when all are whole. */
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, readdirSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { CheckpointFile, CheckpointManifest } from "../../../core/checkpoint.ts";
import { fail } from "../../../core/errors.ts";
import type { Client } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { bytes } from "../table.ts";
import { findCheckpoint, sizeOf } from "./checkpoint.ts";

export interface PullOptions {
  best?: string;
  order?: "max" | "min";
  force?: boolean;
  json?: boolean;
}

const AT_ONCE = 4;

export async function pull(
  name: string,
  dir: string | undefined,
  options: PullOptions,
  { terminal, client, signal }: Context,
): Promise<void> {
  const api = client();
  const manifest = await findCheckpoint(api, name, options);
  const target = resolve(dir ?? `${manifest.series}-${manifest.step}`);
  if (existsSync(target) && readdirSync(target).length > 0 && !options.force)
    throw new UsageError(`${target} is there already; name another folder, or replace it with --force`);
  const total = sizeOf(manifest);
  let done = 0;
  await fetchAll(api, manifest, target, signal, (count) => {
    done += count;
    terminal.status(`${bytes(done)} of ${bytes(total)}`);
  });
  terminal.status(undefined);
  const { series, step, files, metrics } = manifest;
  if (options.json) terminal.json({ series, step, directory: target, files: files.length, bytes: total, metrics });
  else terminal.out(`${series}:${step} -> ${target} (${files.length} files, ${bytes(total)}, verified)`);
}

/** Into a folder beside the target first: who sees the target sees all of it. */
async function fetchAll(
  client: Client,
  manifest: CheckpointManifest,
  target: string,
  signal: AbortSignal,
  onBytes: (count: number) => void,
): Promise<void> {
  const draft = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  await mkdir(draft, { recursive: true });
  try {
    const waiting = [...manifest.files];
    const fetchNext = async (): Promise<void> => {
      for (let file = waiting.shift(); file; file = waiting.shift())
        await fetchFile(client, manifest, file, draft, signal, onBytes);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fetchNext));
    await rm(target, { recursive: true, force: true });
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

async function fetchFile(
  client: Client,
  manifest: CheckpointManifest,
  file: CheckpointFile,
  draft: string,
  signal: AbortSignal,
  onBytes: (count: number) => void,
): Promise<void> {
  const path = resolve(draft, file.path);
  if (!path.startsWith(draft + sep)) fail("checkpoint_invalid", `the manifest names ${file.path}, outside its folder`);
  const response = await client.checkpointFile(manifest.series, manifest.step, file.path, signal);
  const hash = createHash("sha256");
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      onBytes(chunk.length);
      done(null, chunk);
    },
  });
  await mkdir(dirname(path), { recursive: true });
  const body = response.body ? Readable.fromWeb(response.body as never) : Readable.from([]);
  await pipeline(body, measure, createWriteStream(path));
  const sha256 = hash.digest("hex");
  if (sha256 !== file.sha256)
    fail("storage_unavailable", `${file.path} arrived damaged (sha256 ${sha256}, not ${file.sha256}); try again`);
}
