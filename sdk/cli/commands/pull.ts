/** `fabric checkpoint pull`: all files of a checkpoint, verified, under their final name only when all are whole. */
import { existsSync, readdirSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type Context, UsageError } from "../context.ts";
import { bytes } from "../table.ts";
import { findCheckpoint, sizeOf } from "./checkpoint.ts";
import { fetchCheckpoint } from "./fetch-checkpoint.ts";

export interface PullOptions {
  best?: string;
  order?: "max" | "min";
  force?: boolean;
  json?: boolean;
}

export async function pull(
  name: string,
  dir: string | undefined,
  options: PullOptions,
  { terminal, client, signal }: Context,
): Promise<void> {
  const api = client();
  const manifest = await findCheckpoint(api, name, options);
  const { series, step, files, metrics } = manifest;
  const target = resolve(dir ?? `${series}-${step}`);
  if (existsSync(target) && readdirSync(target).length > 0 && !options.force)
    throw new UsageError(`${target} is there already; name another folder, or replace it with --force`);
  const total = sizeOf(manifest);
  // Beside the target, so that who sees the target sees all of it; kept when it breaks off, so that the next pull goes on.
  const draft = join(dirname(target), `.${basename(target)}.${series}-${step}.partial`);
  let done = 0;
  const onBytes = (count: number): void => {
    done += count;
    const share = total === 0 ? 100 : Math.floor((100 * done) / total);
    terminal.status(`${bytes(done)} of ${bytes(total)} (${share} %)`);
  };
  try {
    await fetchCheckpoint(api, manifest, draft, signal, onBytes);
  } catch (error) {
    terminal.status(undefined);
    if (existsSync(draft)) terminal.note(`what has arrived stays in ${draft}; the same command goes on from there`);
    throw error;
  }
  terminal.status(undefined);
  await rm(target, { recursive: true, force: true });
  await rename(draft, target);
  if (options.json) terminal.json({ series, step, directory: target, files: files.length, bytes: total, metrics });
  else terminal.out(`${series}:${step} -> ${target} (${files.length} files, ${bytes(total)}, verified)`);
}
