/** What this runner has taken from one function's queue: held and renewed until it is acknowledged. */
import type { Clock } from "../core/clock.ts";
import type { FunctionKey } from "../core/invocation.ts";
import type { Log } from "../core/log.ts";
import type { Queue, QueueReader } from "../core/queue.ts";
import type { Attempt } from "../core/state-store.ts";
import { gather } from "./gather.ts";

export interface Entries {
  /** Takes the next one; `undefined` when the queue is dry. */
  next(): Promise<Attempt | undefined>;
  /** One that was taken before a restart, if there was any. */
  hold(entry: Attempt): void;
  acknowledge(entry: Attempt): Promise<void>;
  renew(): void;
  held(): number;
  close(): Promise<void>;
}

/** Nobody waits for an acknowledgement, and many at once cost little more than one. */
const ACK_DELAY_MS = 5;
const nameOf = ({ id, generation }: Attempt): string => `${id} ${generation}`;

export function createEntries(
  deps: { queue: Queue; clock: Clock; log: Log },
  key: FunctionKey,
  runner: string,
): Entries {
  const { queue, clock, log } = deps;
  const taken = new Map<string, Attempt>();
  const nextAcks = gather(clock, ACK_DELAY_MS);
  let reader: Promise<QueueReader> | undefined;

  const open = (): Promise<QueueReader> => {
    reader ??= queue.open(key, runner).catch((thrown: unknown) => {
      reader = undefined;
      throw thrown;
    });
    return reader;
  };

  return {
    async next() {
      const entry = await (await open()).next();
      if (entry) taken.set(nameOf(entry), entry);
      return entry;
    },
    hold: (entry) => void taken.set(nameOf(entry), entry),
    async acknowledge(entry) {
      await nextAcks();
      await (await open()).acknowledge(entry);
      taken.delete(nameOf(entry));
    },
    renew() {
      if (taken.size === 0) return;
      const entries = [...taken.values()];
      open()
        .then((from) => from.renew(entries))
        .catch((err: unknown) => log.warn({ err, key }, "entries not renewed"));
    },
    held: () => taken.size,
    close: async () => (await reader)?.close(),
  };
}
