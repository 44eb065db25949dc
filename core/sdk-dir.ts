/** The folder every container sees as its SDK: fabric_sdk with its one dependency, made once per content. */
import { createHash, randomBytes } from "node:crypto";
import { chmod, cp, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { runCommand } from "./run-command.ts";

/** Pure Python and the same for every version, so one folder serves all images. */
export const CLOUDPICKLE = "cloudpickle==3.1.2";

export interface SdkDirOptions {
  dataDir: string;
  /** The folder that holds `fabric_sdk`: sdk/python/src of the repository. */
  source: string;
  caBundle?: string;
  pipIndexUrl?: string;
  /** Interpreters to try for pip, in this order. */
  pythons?: string[];
  signal?: AbortSignal;
  /** Told, in words for a person, what is missing. */
  onNotice?: (notice: string) => void;
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

async function contentHash(source: string): Promise<string> {
  const hash = createHash("sha256").update(`1 ${CLOUDPICKLE}\0`);
  for (const file of await filesBelow(source)) {
    const content = await readFile(file);
    hash.update(`${relative(source, file)}\0${content.length}\0`).update(content);
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

/** The first interpreter that has pip installs. Answers why none could, if none could. */
async function installDependencies(target: string, options: SdkDirOptions): Promise<string | undefined> {
  const reasons: string[] = [];
  for (const python of options.pythons ?? ["python3", "/usr/bin/python3", "python"]) {
    const args = [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--no-input",
      "--disable-pip-version-check",
      "--no-deps",
      "--no-compile",
    ];
    if (options.caBundle) args.push("--cert", options.caBundle);
    if (options.pipIndexUrl) args.push("--index-url", options.pipIndexUrl);
    const { code, stderr } = await runCommand(python, [...args, "--target", target, CLOUDPICKLE], {
      signal: options.signal,
    });
    if (code === 0) return undefined;
    reasons.push(`${python}: ${stderr.trim().split("\n").slice(-3).join(" ") || `exit code ${code}`}`);
  }
  options.signal?.throwIfAborted();
  return reasons.join("\n");
}

/** Functions run as another user: everything readable, nothing writable. */
async function openTree(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openTree(path);
    else await chmod(path, 0o644);
  }
}

/**
 * Gives the folder, making it when this content was not prepared before. Gateway and runner may call it at the same time.
 * Without a Python that has pip, cloudpickle is left out and `onNotice` is told: functions sent by value then do not run, all
 * others do. It is tried again at the next start.
 */
export async function prepareSdkDir(options: SdkDirOptions): Promise<string> {
  const root = join(options.dataDir, "sdk");
  const folder = join(root, await contentHash(options.source));
  if (await exists(folder)) return folder;
  const temporary = `${folder}.${randomBytes(6).toString("hex")}`;
  await mkdir(root, { recursive: true, mode: 0o755 });
  try {
    await mkdir(temporary);
    const missing = await installDependencies(temporary, options);
    if (missing)
      options.onNotice?.(
        `${CLOUDPICKLE} could not be installed, so functions sent by value (from notebooks and scripts) do not run here. Install python3 with pip and start again.\n${missing}`,
      );
    await cp(options.source, temporary, { recursive: true, filter: (from) => !leftOut(from.split("/").at(-1)!) });
    await openTree(temporary);
    return await takePlace(temporary, missing ? `${folder}-bare` : folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function takePlace(temporary: string, folder: string): Promise<string> {
  try {
    await rename(temporary, folder);
  } catch (error) {
    // Somebody else was faster; the content is the same.
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  return folder;
}
