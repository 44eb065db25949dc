/** Removes a node's images that no version of an app needs any more and nobody has needed for a while. */
import type { Clock } from "./clock.ts";
import { asFabricError } from "./errors.ts";
import type { ImageShelf } from "./image-store.ts";
import type { Log } from "./log.ts";
import type { Registry } from "./registry.ts";
import type { StateStore } from "./state-store.ts";

export interface CollectImagesDeps {
  state: Pick<StateStore, "images">;
  registry: Pick<Registry, "apps" | "versions" | "version">;
  shelf: ImageShelf;
}

const LOOK_EVERY_MS = 3_600_000;
const FIRST_LOOK_MS = 60_000;
const DAY_MS = 86_400_000;

/** By image, the versions (`app@2`) of all apps that need it: any of them may be rolled back to. */
export async function versionsByImage({
  registry,
}: Pick<CollectImagesDeps, "registry">): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const app of await registry.apps())
    for (const number of await registry.versions(app))
      for (const { ref } of Object.values((await registry.version(app, number))?.images ?? {}))
        found.set(ref, [...(found.get(ref) ?? []), `${app}@${number}`]);
  return found;
}

/**
 * Which of these no version needs, and nobody has needed for `keepMs`. What a version needs is told to be needed: all versions
 * are looked at only when something was not needed for long.
 */
export async function unneeded(
  deps: Omit<CollectImagesDeps, "shelf">,
  refs: string[],
  keepMs: number,
): Promise<string[]> {
  const ages = await deps.state.images.unneededMs(refs);
  const old = refs.filter((_, at) => ages[at]! >= keepMs);
  if (old.length === 0) return [];
  const needed = await versionsByImage(deps);
  await deps.state.images.need(old.filter((ref) => needed.has(ref)));
  return old.filter((ref) => !needed.has(ref));
}

/** Answers what it removed; what a container uses stays, and is needed. */
export async function collectImages(deps: CollectImagesDeps, keepMs: number): Promise<string[]> {
  const kept = await deps.shelf.kept();
  const removed: string[] = [];
  const refs = kept.map(({ ref }) => ref);
  for (const ref of await unneeded(deps, refs, keepMs)) {
    const [ageMs] = await deps.state.images.unneededMs([ref]);
    // Deployed again while all versions were looked at.
    if (ageMs! < keepMs) continue;
    if (await deps.shelf.remove(ref)) removed.push(ref);
    else await deps.state.images.need([ref]);
  }
  return removed;
}

/** Collects until stopped; the returned function resolves when the look that runs has ended. `before` tells what lives here. */
export function keepCollectingImages(
  deps: CollectImagesDeps & {
    clock: Clock;
    log: Log;
    retentionDays: number;
    before?(): Promise<void>;
    after?(keepMs: number): Promise<void>;
  },
): () => Promise<void> {
  const { clock, log, retentionDays } = deps;
  const keepMs = retentionDays * DAY_MS;
  let stopped = false;
  let looking: Promise<void> = Promise.resolve();
  let cancelTimer = (): void => {};
  const look = async (): Promise<void> => {
    try {
      await deps.before?.();
      const removed = await collectImages(deps, keepMs);
      if (removed.length > 0) log.info({ images: removed }, "removed images that no version needs any more");
      await deps.after?.(keepMs);
    } catch (error) {
      const { code, message } = asFabricError(error);
      log.warn({ code, error: message }, "images that nobody needs were not removed; it will be tried again");
    }
    wait(LOOK_EVERY_MS);
  };
  const wait = (ms: number): void => {
    if (stopped) return;
    cancelTimer = clock.after(ms, () => {
      looking = look();
    });
  };
  if (retentionDays > 0) wait(FIRST_LOOK_MS);
  return async () => {
    stopped = true;
    cancelTimer();
    await looking;
  };
}
