/**
 * Makes dist/: each of fabric's programs as one file, which starts in a third of the time that its hundreds of sources take.
 * By itself (`node bin/bundle.js`) it makes what is not up to date; `fabric` does so before it starts.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, "dist");
const STAMP = join(DIST, "made");
const PROGRAMS = {
  "base-image": "images/base/main.ts",
  clear: "runner/clear/main.ts",
  cli: "bin/cli.ts",
  gateway: "gateway/main.ts",
  runner: "runner/main.ts",
  s3: "local/s3/main.ts",
  supervisor: "local/main.ts",
};
const SOURCES = ["bin", "core", "gateway", "images", "local", "runner", "sdk/cli", "sdk/typescript", "package.json"];

/** When a source last changed, in ms since 1970. In an installed package all files have one time. */
const changedAt = (path) => {
  const stat = statSync(join(ROOT, path));
  if (!stat.isDirectory()) return stat.mtimeMs;
  const names = readdirSync(join(ROOT, path)).filter((name) => name !== "node_modules");
  return Math.max(0, ...names.map((name) => changedAt(`${path}/${name}`)));
};

const madeAt = () => statSync(STAMP, { throwIfNoEntry: false })?.mtimeMs;

export async function bundle() {
  const made = madeAt();
  const changed = Math.max(...SOURCES.map(changedAt));
  if (made !== undefined && made >= changed) return;
  const { build } = await import("esbuild");
  // Others may be at it, too, and programs may be starting: each file appears whole.
  const aside = join(DIST, `new-${process.pid}`);
  mkdirSync(aside, { recursive: true });
  try {
    await build({
      absWorkingDir: ROOT,
      entryPoints: PROGRAMS,
      outdir: aside,
      bundle: true,
      platform: "node",
      target: "node20.19",
      format: "esm",
      // It reads files that lie beside it.
      external: ["dockerode"],
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
      logLevel: "error",
    });
    for (const name of readdirSync(aside)) renameSync(join(aside, name), join(DIST, name));
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  // What changed meanwhile is newer than that.
  writeFileSync(STAMP, "");
  utimesSync(STAMP, changed / 1000, Math.ceil(changed) / 1000);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle();
