/** Ids that are made at the first start and kept in the data directory. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newId } from "./ids.ts";

export const fabricIdOf = ({ fabricId, dataDir }: { fabricId: string; dataDir: string }): string =>
  fabricId || keptId(dataDir, "fabric-id", () => newId("fab"));

export function keptId(dataDir: string, name: string, make: () => string): string {
  const path = join(dataDir, name);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${make()}\n`, { mode: 0o600 });
  try {
    linkSync(draft, path);
  } catch (thrown) {
    // The first one who wrote it decided.
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  } finally {
    rmSync(draft);
  }
  return readFileSync(path, "utf8").trim();
}
