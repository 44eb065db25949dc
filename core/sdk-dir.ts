/** The folder every container sees as its SDK: fabric_sdk with its one dependency, made once per content, without Python. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
export interface SdkDirOptions {
  dataDir: string;
  /** The folder that holds `fabric_sdk`: sdk/python/src of the repository. */
  source: string;
  /** The folder that holds `cloudpickle`, pure Python and the same for every version; default: `vendor` beside `source`. */
  vendor?: string;
}

const LEFT_OUT = new Set(["__pycache__", ".mypy_cache", ".ruff_cache"]);
const leftOut = (name: string): boolean => LEFT_OUT.has(name) || name.endsWith(".egg-info");

async function filesBelow(folder: string): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (leftOut(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...(await filesBelow(path)));
    else files.push(path);
  }
  return files.sort();
}

async function contentHash(folders: string[]): Promise<string> {
  const hash = createHash("sha256").update("2\0");
  for (const folder of folders)
    for (const file of await filesBelow(folder)) {
      const content = await readFile(file);
      hash.update(`${relative(folder, file)}\0${content.length}\0`).update(content);
    }
  return hash.digest("hex").slice(0, 32);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );

/** Functions run as another user: everything readable, nothing writable. */
async function openTree(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openTree(path);
    else await chmod(path, 0o644);
  }
}

/** Gives the folder, making it when this content was not prepared before. Gateway and runner may call it at the same time. */
export async function prepareSdkDir(options: SdkDirOptions): Promise<string> {
  const root = join(options.dataDir, "sdk");
  const sources = [options.vendor ?? join(dirname(options.source), "vendor"), options.source];
  const folder = join(root, await contentHash(sources));
  if (await exists(folder)) return folder;
  const temporary = `${folder}.${randomBytes(6).toString("hex")}`;
  await mkdir(root, { recursive: true, mode: 0o755 });
  try {
    await mkdir(temporary);
    for (const source of sources)
      await cp(source, temporary, { recursive: true, filter: (from) => !leftOut(basename(from)) });
    await openTree(temporary);
    await rename(temporary, folder).catch((error: NodeJS.ErrnoException) => {
      // Somebody else was faster; the content is the same.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return folder;
}
