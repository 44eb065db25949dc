/** The environments of the process engine: folders below the data directory, which do not travel. */
import { randomBytes } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ImageShelf } from "./image-store.ts";

/** Which of them processes use is the runner's to know: it tells that these are needed. */
export function processImages(dataDir: string): ImageShelf {
  const root = join(dataDir, "images");
  return {
    async kept() {
      const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return [];
        throw error;
      });
      // Also what a build or a removal left that was interrupted.
      return names
        .filter((name) => /^[0-9a-f]{32}(\.[0-9a-f]{8})?$/.test(name))
        .map((name) => ({ ref: join(root, name) }));
    },
    async remove(ref) {
      // Out of the way first: a build of the same spec must not meet half a folder.
      const aside = `${ref.replace(/\.[0-9a-f]{8}$/, "")}.${randomBytes(4).toString("hex")}`;
      try {
        await rename(ref, aside);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
        throw error;
      }
      await rm(aside, { recursive: true, force: true });
      return true;
    },
  };
}
