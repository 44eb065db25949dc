/** Answers nodes that ask for an image: the gateway whose node has it brings it into the bucket, one image at a time. */
import type { Clock } from "../core/clock.ts";
import { asFabricError } from "../core/errors.ts";
import { imageIndexKey } from "../core/image-index.ts";
import type { ImageStore } from "../core/image-store.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { StateStore } from "../core/state-store.ts";
import { storeImage } from "./store-image.ts";

const LEASE_MS = 15_000;
const TELL_EVERY_MS = 1_000;
/** Before an image is tried again that could not be stored. */
const PAUSE_MS = 5_000;

export interface ShareDeps {
  state: Pick<StateStore, "images">;
  objects: ObjectStore;
  images: ImageStore;
  /** Its id among the gateways. */
  owner: string;
  clock: Clock;
  log: Log;
}

/** Answers until stopped; the returned function resolves when nothing is left under way. */
export async function keepSharing(deps: ShareDeps): Promise<() => Promise<void>> {
  const { state, images, owner, clock, log } = deps;
  const stopped = new AbortController();
  const busy = new Map<string, Promise<void>>();
  const pausedUntil = new Map<string, number>();
  let last: Promise<void> = Promise.resolve();

  async function answer(ref: string): Promise<void> {
    if (clock.monotonic() < (pausedUntil.get(ref) ?? 0)) return;
    pausedUntil.delete(ref);
    const found = await images.find(ref);
    if (!found) return state.images.lack(ref);
    const progress = { done: 0, total: found.bytes };
    // Claimed before its turn comes, so that whoever asks knows that somebody has it.
    if (!(await state.images.claim(ref, owner, LEASE_MS, progress))) return;
    const storing = store(ref, progress, last);
    last = storing.catch(() => {});
    await storing;
  }

  async function store(ref: string, progress: { done: number; total: number }, before: Promise<void>): Promise<void> {
    let cancelTimer = (): void => {};
    const tell = (): void => {
      cancelTimer = clock.after(TELL_EVERY_MS, () => {
        state.images
          .claim(ref, owner, LEASE_MS, progress)
          .catch((err: unknown) => log.debug({ err, image: ref }, "the progress of an image could not be told"));
        tell();
      });
    };
    tell();
    const onBytes = (count: number): void => {
      progress.done += count;
    };
    let failure: string | undefined;
    try {
      await before;
      stopped.signal.throwIfAborted();
      if (await deps.objects.head(imageIndexKey(ref))) return;
      log.info({ image: ref, bytes: progress.total }, "bringing an image into the bucket: a node lacks it");
      await storeImage(deps, ref, onBytes, stopped.signal);
    } catch (thrown) {
      failure = stopped.signal.aborted ? "the gateway was stopped" : asFabricError(thrown).message;
      throw thrown;
    } finally {
      cancelTimer();
      await state.images.settle(ref, owner, failure);
    }
  }

  const stopListening = await state.images.onAsked((ref) => {
    if (busy.has(ref) || stopped.signal.aborted) return;
    const answering = answer(ref)
      .catch((thrown: unknown) => {
        if (stopped.signal.aborted) return;
        pausedUntil.set(ref, clock.monotonic() + PAUSE_MS);
        const { code, message } = asFabricError(thrown);
        log.warn({ image: ref, code, error: message }, "an image could not be given to a node that lacks it");
      })
      .finally(() => busy.delete(ref));
    busy.set(ref, answering);
  });
  return async () => {
    stopListening();
    stopped.abort(new Error("the gateway was stopped"));
    await Promise.all(busy.values());
  };
}
