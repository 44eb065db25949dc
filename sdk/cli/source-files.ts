/** Which files of a source tree belong to a deployment: plain ones below the root that no ignore file names, sorted. */
import { existsSync, readFileSync } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { fail } from "../../core/errors.ts";
import { type IgnoreRule, ignored, parseIgnore } from "./ignore.ts";

export interface SourceFile {
  /** Relative to the root, '/' between parts. */
  name: string;
  path: string;
  size: number;
  executable: boolean;
}

const ALWAYS = parseIgnore([".git", "node_modules", "__pycache__", ".venv", "*.pyc"].join("\n"), "");
const IGNORE_FILES = [".gitignore", ".fabricignore"];

export async function sourceFiles(root: string): Promise<SourceFile[]> {
  const realRoot = await realpath(root);
  const files: SourceFile[] = [];
  await walk({ root: realRoot, files, above: [realRoot] }, "", ALWAYS);
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

interface Walk {
  root: string;
  files: SourceFile[];
  /** Real paths of the folders we are in, so that a link to one of them is not followed for ever. */
  above: string[];
}

async function walk(state: Walk, folder: string, inherited: readonly IgnoreRule[]): Promise<void> {
  const here = join(state.root, folder);
  const rules = [...inherited, ...ownRules(here, folder)];
  for (const entry of await readdir(here, { withFileTypes: true })) {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (ignored(rules, name, entry.isDirectory())) continue;
    const path = join(here, entry.name);
    const target = entry.isSymbolicLink() ? await within(state.root, path, name) : path;
    const facts = await stat(target);
    if (facts.isDirectory()) {
      const real = await realpath(target);
      if (state.above.includes(real)) fail("archive_invalid", `${name} links to a folder it lies in`);
      if (entry.isSymbolicLink() && ignored(rules, name, true)) continue;
      await walk({ ...state, above: [...state.above, real] }, name, rules);
    } else if (facts.isFile()) {
      state.files.push({ name, path: target, size: facts.size, executable: (facts.mode & 0o100) !== 0 });
    } else fail("archive_invalid", `${name} is neither a file nor a folder; name it in .fabricignore`);
  }
}

function ownRules(here: string, folder: string): IgnoreRule[] {
  return IGNORE_FILES.flatMap((file) => {
    const path = join(here, file);
    return existsSync(path) ? parseIgnore(readFileSync(path, "utf8"), folder) : [];
  });
}

/** Links are packed as what they point to, which has to be part of the tree. */
async function within(root: string, path: string, name: string): Promise<string> {
  let target: string;
  try {
    target = await realpath(path);
  } catch (error) {
    return fail("archive_invalid", `${name} is a link that leads nowhere`, undefined, { cause: error });
  }
  if (target !== root && !target.startsWith(root + sep))
    fail("archive_invalid", `${name} links to ${target}, outside ${root}. Copy it in, or name it in .fabricignore`);
  return target;
}
