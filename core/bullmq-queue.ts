/** Queue on BullMQ: the only file where its words (job, worker) appear. Its locks own nothing, its retries are off. */
import { Queue as BullQueue, Job, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { FabricError } from "./errors.ts";
import type { FunctionKey } from "./invocation.ts";
import type { Queue, QueueReader } from "./queue.ts";
import { failFastRedis, patientRedis } from "./redis/connection.ts";
import type { Attempt } from "./state-store.ts";

export interface BullmqQueueOptions {
  url: string;
  /**
   * Connection for adding, shared with the state store: what is sent to it first (the record) is stored first (before its
   * entry). Made when absent.
   */
  producer?: Redis;
  prefix: string;
  /** How long a taken entry stays with a reader that does not renew it; afterwards it goes back by itself. */
  lockMs: number;
  onError?: (error: Error) => void;
}

const ADD_TIMEOUT_MS = 3_000;
/** Entries carry nothing: the record has it all. */
const ENTRY = { removeOnComplete: true, removeOnFail: true, attempts: 1 };
/** BullMQ's budget of stalls lasts a job's whole life; ours is in the record, so theirs must never run out. */
const NEVER = 1_000_000;
/** Codes of an acknowledgement whose job is gone, or was given to another reader: the record decides, so both are fine. */
const GONE = new Set([-1, -2, -3, -6]);

/** BullMQ takes jobs that have a priority after those that have none. Which call gets the entry then, records decide. */
const optionsOf = (entry: Parameters<Queue["add"]>[1]) => ({
  jobId: jobId(entry),
  ...(entry.behind ? { priority: 1 } : {}),
});
const jobId = ({ id, generation }: Attempt): string => `${id}-${generation}`;

function attemptOf(id: string): Attempt {
  const dash = id.lastIndexOf("-");
  return { id: id.slice(0, dash), generation: Number(id.slice(dash + 1)) };
}

/** Connects in the background; while Redis is away its methods throw `redis_unavailable`. */
export function bullmqQueue({ url, producer: shared, prefix, lockMs, onError = () => {} }: BullmqQueueOptions): Queue {
  const producer = shared ?? failFastRedis(url, onError);
  const consumer = patientRedis(url, onError);
  const queues = new Map<FunctionKey, BullQueue>();

  const queueOf = (key: FunctionKey): BullQueue => {
    const known = queues.get(key);
    if (known) return known;
    const queue = new BullQueue(key, {
      connection: producer,
      prefix: `${prefix}:q`,
      defaultJobOptions: ENTRY,
      streams: { events: { maxLen: 100 } },
    });
    queue.on("error", onError);
    queues.set(key, queue);
    // BullMQ looks at Redis once before a queue's first use; where that look fails it fails that queue for ever.
    queue.waitUntilReady().catch((error: Error) => {
      onError(error);
      if (queues.get(key) === queue) queues.delete(key);
      queue.close().catch(onError);
    });
    return queue;
  };

  return {
    add: (key, ...entries) =>
      within(ADD_TIMEOUT_MS, async () => {
        const [one] = entries;
        // Several cost a transaction around them.
        if (one && entries.length === 1) await queueOf(key).add("entry", null, optionsOf(one));
        else
          await queueOf(key).addBulk(entries.map((entry) => ({ name: "entry", data: null, opts: optionsOf(entry) })));
      }),

    depth: (key) => within(ADD_TIMEOUT_MS, () => queueOf(key).getJobCountByTypes("waiting", "prioritized")),

    isEmpty: (key) =>
      within(ADD_TIMEOUT_MS, async () => {
        const counts = await queueOf(key).getJobCounts("waiting", "prioritized", "active");
        return Object.values(counts).every((count) => count === 0);
      }),

    has: (key, entry) =>
      within(ADD_TIMEOUT_MS, async () => {
        const queue = queueOf(key);
        const state = await queue.getJobState(jobId(entry));
        if (state !== "active") return state !== "unknown";
        return (await producer.exists(`${queue.toKey(jobId(entry))}:lock`)) === 1;
      }),

    ahead: (key, entry) =>
      within(ADD_TIMEOUT_MS, async () => {
        // New entries come in at the head of the list and are taken from its tail.
        const [list, behind] = [queueOf(key).toKey("wait"), queueOf(key).toKey("prioritized")];
        const [position, length, rank] = await Promise.all([
          producer.lpos(list, jobId(entry)),
          producer.llen(list),
          producer.zrank(behind, jobId(entry)),
        ]);
        if (position === null) return rank === null ? undefined : length + rank;
        return Math.max(0, length - 1 - position);
      }),

    open: async (key, reader) => openReader(key, reader, { consumer, prefix, lockMs, onError }),

    remove: (key) => within(ADD_TIMEOUT_MS * 5, () => queueOf(key).obliterate({ force: true })),

    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
      if (!shared) producer.disconnect();
      consumer.disconnect();
    },
  };
}

interface ReaderDeps {
  consumer: Redis;
  prefix: string;
  lockMs: number;
  onError: (error: Error) => void;
}

/** The token is the reader's own name, so that a restarted reader can still acknowledge what it had taken. */
async function openReader(key: FunctionKey, token: string, deps: ReaderDeps): Promise<QueueReader> {
  const worker = new Worker(key, null, {
    connection: deps.consumer,
    prefix: `${deps.prefix}:q`,
    autorun: false,
    skipLockRenewal: true,
    lockDuration: deps.lockMs,
    stalledInterval: deps.lockMs,
    maxStalledCount: NEVER,
  });
  worker.on("error", deps.onError);
  await worker.startStalledCheckTimer();
  const taken = new Map<string, Job>();

  /** Runs `act` on the job, which an earlier process of this reader may have taken. */
  const withJob = async (entry: Attempt, act: (job: Job) => Promise<unknown>): Promise<void> => {
    const id = jobId(entry);
    const job = taken.get(id) ?? (await Job.fromId(worker, id));
    if (job) {
      await act(job).catch((error: Error & { code?: number }) => {
        if (!GONE.has(error.code ?? 0)) throw error;
      });
    }
    taken.delete(id);
  };

  return {
    async next() {
      const job = await worker.getNextJob(token, { block: false });
      if (!job?.id) return undefined;
      taken.set(job.id, job);
      return attemptOf(job.id);
    },
    acknowledge: (entry) => withJob(entry, (job) => job.moveToCompleted(null, token, false)),
    putBack: (entry) => withJob(entry, (job) => job.moveToWait(token)),
    async renew(entries) {
      if (entries.length === 0) return;
      const ids = entries.map(jobId);
      await worker.extendJobLocks(
        ids,
        ids.map(() => token),
        deps.lockMs,
      );
    },
    close: () => worker.close(true),
  };
}

/** An add that got no answer in time may have been stored all the same: the caller's id makes a repeat harmless. */
async function within<T>(ms: number, act: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new FabricError("redis_unavailable", `Redis did not answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([act(), late]);
  } catch (cause) {
    if (cause instanceof FabricError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new FabricError("redis_unavailable", `Redis does not answer: ${message}`, undefined, { cause });
  } finally {
    clearTimeout(timer);
  }
}
