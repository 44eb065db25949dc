/** What is to be sent to one other runner: in order, in batches, and kept through outages of Redis. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { PostStore } from "../core/post-store.ts";
import { isOutage } from "../core/until-done.ts";

export interface LinkOutbox {
  add(frame: Buffer): void;
  isEmpty(): boolean;
  /** Resolves once everything is sent. */
  empty(): Promise<void>;
}

const BATCH = 64;
const BATCH_BYTES = 4 * 1024 * 1024;
/** A peer that takes so little that more than this waits is given up. */
const MOST_BYTES = 64 * 1024 * 1024;
const RETRY_MS = 100;

export function createOutbox(
  { posts, clock, log }: { posts: Pick<PostStore, "post">; clock: Clock; log: Log },
  peer: string,
  onOverflow: () => void,
): LinkOutbox {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let sending: Promise<void> | undefined;

  function batch(): Buffer[] {
    let size = 0;
    const end = waiting.slice(0, BATCH).findIndex((frame, i) => {
      size += frame.length;
      return i > 0 && size > BATCH_BYTES;
    });
    return waiting.slice(0, end < 0 ? BATCH : end);
  }

  async function send(): Promise<void> {
    while (waiting.length > 0) {
      const from = waiting;
      const frames = batch();
      const isTaken = await taken(frames);
      if (waiting !== from) continue;
      if (isTaken) {
        waiting.splice(0, frames.length);
        bytes -= frames.reduce((sum, frame) => sum + frame.length, 0);
      } else await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  }

  /** When nobody knows whether they were stored, they are sent again: the receiver counts. */
  async function taken(frames: Buffer[]): Promise<boolean> {
    try {
      return await posts.post(peer, frames);
    } catch (err) {
      if (!isOutage(err)) log.error({ err, peer }, "messages to another runner could not be sent");
      return false;
    }
  }

  return {
    add(frame) {
      if (bytes + frame.length > MOST_BYTES) {
        waiting = [];
        bytes = 0;
        return onOverflow();
      }
      waiting.push(frame);
      bytes += frame.length;
      sending ??= send().finally(() => (sending = undefined));
    },
    isEmpty: () => waiting.length === 0,
    empty: async () => sending,
  };
}
