/** Writes that survive a crash: temp file, fsync, rename, fsync of the directory. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";

export const TEMPORARY = ".tmp";

/** The file holds the old text or the new one, whatever happens. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}${TEMPORARY}`;
  try {
    await withFile(temporary, "wx", async (file) => {
      await file.writeFile(text);
      await file.datasync();
    });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDir(dirname(path));
}

export async function removeDurably(path: string): Promise<void> {
  await unlink(path);
  await syncDir(dirname(path));
}

const syncing = new Map<string, { running: Promise<void>; next?: Promise<void> }>();

/** Makes renames and removals in a directory durable; callers that come while one sync runs share the next one. */
export function syncDir(dir: string): Promise<void> {
  const now = syncing.get(dir);
  if (now) {
    now.next ??= now.running.then(
      () => startSync(dir),
      () => startSync(dir),
    );
    return now.next;
  }
  return startSync(dir);
}

function startSync(dir: string): Promise<void> {
  const running = withFile(dir, "r", (file) => file.sync());
  const entry: { running: Promise<void>; next?: Promise<void> } = { running };
  syncing.set(dir, entry);
  const done = (): void => {
    if (!entry.next) syncing.delete(dir);
  };
  running.then(done, done);
  return running;
}

export async function withFile<T>(path: string, flags: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;
