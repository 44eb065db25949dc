/** Holds the arrows of the layout: who may import whom, who may read the environment, and that no imports go in circles. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const FOLDERS = ["core", "gateway", "runner", "local", "sdk", "images"];
/** Apart from these, a folder imports only itself and core. */
const MORE: Record<string, string[]> = {
  core: [],
  images: ["gateway"], // makes base images with the gateway's builder, as a main of its own
};
/**
 * Mains hand the environment to the processes they start, and run-command lets the programs it runs keep PATH and HOME.
 * Settings are read in core/config.ts only.
 */
const READS_ENVIRONMENT = (file: string): boolean =>
  ["core/config.ts", "core/run-command.ts"].includes(file) || isComposition(file);
/** `main.ts`, and the choices it makes in files of their own. */
const isComposition = (file: string): boolean => /\/(main|choose-[a-z]+)\.ts$/.test(file);
/** Implementations of seams: only compositions and tests name them. */
const IMPLEMENTATIONS = [
  "core/bullmq-queue.ts",
  "core/docker-images.ts",
  "core/object-store-s3.ts",
  "core/process-images.ts",
  "core/redis-state.ts",
  "core/upload-store-s3.ts",
  "runner/engine/docker.ts",
  "runner/engine/process.ts",
];

const sources = FOLDERS.flatMap((folder) => walk(folder));
const imports = new Map(sources.map((file) => [file, importsOf(file)]));

function walk(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.parentPath.includes("node_modules"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

interface Import {
  target: string;
  typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  const pattern = /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^"';]*?from\s+"(\.[^"]+)"|import\("(\.[^"]+)"\)/g;
  return [...text.matchAll(pattern)].map(([, type, fixed, lazy]) => ({
    target: relative(ROOT, resolve(ROOT, dirname(file), fixed ?? lazy ?? "")),
    typeOnly: type !== undefined,
  }));
}

const folderOf = (file: string): string => file.split("/")[0] ?? "";

describe("layout", () => {
  it("lets a folder import only itself and core", () => {
    const wrong = [...imports].flatMap(([file, targets]) => {
      const allowed = [folderOf(file), "core", ...(MORE[folderOf(file)] ?? [])];
      return targets
        .filter(({ target }) => !allowed.includes(folderOf(target)))
        .map(({ target }) => `${file} -> ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it("has no import cycles", () => {
    expect(findCycle()).toBeUndefined();
  });

  it("reads the environment in core/config.ts and in mains only", () => {
    const wrong = sources.filter((file) => {
      const code = readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      return /process\.env\b/.test(code) && !READS_ENVIRONMENT(file);
    });
    expect(wrong).toEqual([]);
  });

  it("names implementations of seams in mains only", () => {
    const wrong = [...imports].flatMap(([file, targets]) =>
      isComposition(file)
        ? []
        : targets
            .filter(({ target, typeOnly }) => !typeOnly && IMPLEMENTATIONS.includes(target))
            .map(({ target }) => `${file} -> ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it("opens every file with one sentence about it, and keeps it readable in one sitting", () => {
    const wrong = sources.flatMap((file) => {
      const text = readFileSync(join(ROOT, file), "utf8");
      const lines = text.split("\n").length - 1;
      return [
        ...(text.startsWith("/**") ? [] : [`${file}: no opening sentence`]),
        ...(lines > 300 ? [`${file}: ${lines} lines`] : []),
      ];
    });
    expect(wrong).toEqual([]);
  });

  it("has no default exports and no barrels", () => {
    const wrong = sources.filter((file) => {
      const text = readFileSync(join(ROOT, file), "utf8");
      return /^export default/m.test(text) || file.endsWith("/index.ts");
    });
    expect(wrong).toEqual([]);
  });
});

function findCycle(): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    const at = path.indexOf(file);
    if (at >= 0) return [...path.slice(at), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const { target, typeOnly } of imports.get(file) ?? []) {
      const cycle = typeOnly ? undefined : visit(target);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of sources) {
    const cycle = visit(file);
    if (cycle) return cycle;
  }
  return undefined;
}
