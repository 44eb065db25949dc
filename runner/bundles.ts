/** Source bundles on this node: fetched from the bucket once per digest, shared by all who ask at the same time. */
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "../core/errors.ts";
import type { ObjectStore } from "../core/object-store.ts";
import { unpack } from "./unpack.ts";

export interface Bundles {
  /** The host folder with the unpacked bundle. */
  get(digest: string): Promise<string>;
}

export const sourceKey = (digest: string): string => `sources/${digest}.tar.gz`;

export function createBundles(options: { objects: ObjectStore; dir: string; maxBytes: number }): Bundles {
  const { objects, dir, maxBytes } = options;
  const fetching = new Map<string, Promise<string>>();

  async function fetchOnce(digest: string): Promise<string> {
    const folder = join(dir, digest);
    if (await exists(folder)) return folder;
    const object = await objects.get(sourceKey(digest));
    if (!object) fail("source_not_found", `the bundle ${digest} is not in the bucket`);
    await mkdir(dir, { recursive: true });
    const draft = await mkdtemp(join(dir, ".new-"));
    try {
      await unpack(object.body, draft, maxBytes);
      await rename(draft, folder);
    } catch (thrown) {
      object.body.destroy();
      await rm(draft, { recursive: true, force: true });
      // Somebody else on this node was faster; a digest names one content.
      if (!["EEXIST", "ENOTEMPTY"].includes((thrown as NodeJS.ErrnoException).code ?? "")) throw thrown;
    }
    return folder;
  }

  return {
    async get(digest) {
      if (!/^[0-9a-f]{64}$/.test(digest)) fail("source_not_found", "a bundle's digest is 64 hex digits");
      let running = fetching.get(digest);
      if (!running) {
        running = fetchOnce(digest).finally(() => fetching.delete(digest));
        fetching.set(digest, running);
      }
      return running;
    },
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw thrown;
  }
}
