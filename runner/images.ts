/** Images on this node: what a container is to start from is brought here before anything is booked for it, once for all who wait. */
import { setTimeout as delay } from "node:timers/promises";
import { asFabricError } from "../core/errors.ts";
import { imageIndexKey } from "../core/image-index.ts";
import type { ImageRequest } from "../core/image-state.ts";
import type { ImageStore } from "../core/image-store.ts";
import { FETCHING } from "../core/load.ts";
import type { Log } from "../core/log.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { StateStore } from "../core/state-store.ts";
import { isOutage } from "../core/until-done.ts";
import { type FetchProgress, fetchImage } from "./fetch-image.ts";

export interface Images {
  /**
   * Why no container can start from the image yet, in words: it is being fetched, which `onFetched` ends. `undefined` when it is
   * here, and when no node has it: then the start says so.
   */
  lacking(ref: string): Promise<string | undefined>;
  /** The engine did not find it: it is not taken for granted any more. */
  lost(ref: string): void;
  close(): void;
}

export interface ImagesOptions {
  state: Pick<StateStore, "images">;
  objects: ObjectStore;
  /** Absent where images do not travel: whether one is there, the start tells. */
  images?: ImageStore;
  log: Log;
  onFetched(): void;
  times?: typeof TIMES;
}

const TIMES = {
  /** A pool that has to wait asks every second: what another node did meanwhile needs no image here. */
  wantedMs: 1_500,
  askEveryMs: 1_000,
  /** So long after gateways said that they lack it, and none that it has it, it is nowhere. */
  goneAfterMs: 10_000,
};
/** For so long nobody is asked again for what is nowhere. */
const GONE_MS = 30_000;
/** And for so long nothing is tried that cannot be. */
const IMPOSSIBLE_MS = 600_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

const MB = 1_000_000;
const megabytes = (done: number, total: number): string =>
  `${Math.floor(done / MB).toLocaleString("en-US")} of ${Math.ceil(total / MB).toLocaleString("en-US")} MB`;

const fetchingText = ({ done, total }: FetchProgress): string =>
  done < total || total === 0 ? `${FETCHING}, ${megabytes(done, total)}` : `${FETCHING}: unpacking it`;

const askingText = ({ storing, failure }: ImageRequest): string => {
  if (storing) return `${FETCHING}: a gateway brings it into the bucket, ${megabytes(storing.done, storing.total)}`;
  return `${FETCHING}: no gateway gives it so far${failure === undefined ? "" : ` (${failure})`}`;
};

export function createImages({ state, objects, images, log, onFetched, times = TIMES }: ImagesOptions): Images {
  const here = new Set<string>();
  const goneUntil = new Map<string, number>();
  /** What is said of each that is on its way. */
  const coming = new Map<string, string>();
  const asked = new Map<string, number>();
  const closed = new AbortController();
  const { signal } = closed;

  /** Asks until the image is in the bucket or nowhere. */
  async function ask(ref: string, say: (text: string) => void): Promise<boolean> {
    let lackingSince: number | undefined;
    for (;;) {
      const answer = await state.images.ask(ref);
      say(askingText(answer));
      if (!answer.isLacking || answer.storing || answer.failure !== undefined) lackingSince = undefined;
      else lackingSince ??= performance.now();
      if (lackingSince !== undefined && performance.now() - lackingSince >= times.goneAfterMs) return false;
      await delay(times.askEveryMs, undefined, { signal });
      if (await isStored(ref)) return true;
    }
  }
  const isStored = async (ref: string): Promise<boolean> => (await objects.head(imageIndexKey(ref))) !== undefined;

  async function isStillWanted(ref: string): Promise<boolean> {
    const before = asked.get(ref);
    await delay(times.wantedMs, undefined, { signal });
    return asked.get(ref) !== before;
  }

  async function obtain(store: ImageStore, ref: string): Promise<void> {
    if (!(await isStillWanted(ref))) return;
    const say = (text: string): void => void coming.set(ref, text);
    let all = false;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        const onProgress = (progress: FetchProgress): void => say(fetchingText(progress));
        if (await fetchImage({ objects, images: store }, ref, onProgress, signal, all)) break;
        if (!(await ask(ref, say))) return void goneUntil.set(ref, performance.now() + GONE_MS);
        continue;
      } catch (thrown) {
        signal.throwIfAborted();
        const { code, message } = asFabricError(thrown);
        if (code === "image_missing") {
          log.error({ image: ref, error: message }, "an image cannot be had on this node");
          return void goneUntil.set(ref, performance.now() + IMPOSSIBLE_MS);
        }
        log.warn({ image: ref, code, error: message }, "an image could not be fetched; it will be tried again");
        say(`${FETCHING}: it failed and will be tried again: ${message}`);
        all = !isOutage(thrown);
        if (isOutage(thrown)) pauseMs = FIRST_PAUSE_MS;
      }
      await delay(pauseMs, undefined, { signal });
    }
    here.add(ref);
    log.info({ image: ref }, "fetched an image from the bucket");
  }

  function begin(store: ImageStore, ref: string): string {
    const text = "the image is not on this node yet";
    coming.set(ref, text);
    obtain(store, ref)
      .catch((err: unknown) => {
        if (!signal.aborted) log.error({ err, image: ref }, "an image could not be fetched");
      })
      .finally(() => {
        coming.delete(ref);
        asked.delete(ref);
        if (!signal.aborted) onFetched();
      });
    return text;
  }

  return {
    async lacking(ref) {
      if (!images || here.has(ref) || performance.now() < (goneUntil.get(ref) ?? 0)) return undefined;
      asked.set(ref, (asked.get(ref) ?? 0) + 1);
      if (coming.has(ref)) return coming.get(ref);
      try {
        if (await images.find(ref)) {
          here.add(ref);
          return undefined;
        }
      } catch (thrown) {
        return `it is unknown whether the image is on this node: ${asFabricError(thrown).message}`;
      }
      return coming.get(ref) ?? begin(images, ref);
    },
    lost: (ref) => void here.delete(ref),
    close: () => closed.abort(),
  };
}
