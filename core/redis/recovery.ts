/** Recovery on Redis: what a sweeper finds, and the steps that only it takes. */
import { FabricError } from "../errors.ts";
import type { InvocationStore, QueuedEntry, Recovery } from "../state-store.ts";
import type { Commands } from "./connection.ts";
import { CANCELLED } from "./invocations.ts";
import { parseLeaseMember, parseQueuedMember, queuedMember, type RedisKeys } from "./keys.ts";

const NODE_LOST = JSON.stringify(
  new FabricError(
    "node_lost",
    "The nodes that ran it stopped renewing their leases more often than the budget allows.",
  ).toBody(),
);

export function recovery(
  { run }: Commands,
  keys: RedisKeys,
  recordTtlSeconds: number,
  invocations: InvocationStore,
): Recovery {
  return {
    async find({ outboxAgeMs, leaseMs, queuedAgeMs, max }) {
      const [outbox, expired, queued] = (await run(
        "find",
        [keys.outbox, keys.leases, keys.queued, keys.sweep],
        [outboxAgeMs, leaseMs, queuedAgeMs, max],
      )) as [Buffer[], Buffer[], Buffer[]];
      const entries = (members: Buffer[]): QueuedEntry[] => members.map((m) => parseQueuedMember(m.toString()));
      const attempts = expired.map((member) => parseLeaseMember(member.toString()));
      return { outbox: entries(outbox), expired: attempts, queued: entries(queued) };
    },

    async readd(entry) {
      const next = (await run(
        "readd",
        [keys.record(entry.id), keys.outbox, keys.queued],
        [entry.id, entry.generation, queuedMember(entry)],
      )) as number;
      return next === 0 ? undefined : { ...entry, generation: next };
    },

    async seen(entry) {
      await run(
        "seen",
        [keys.record(entry.id), keys.queued, keys.work],
        [entry.generation, queuedMember(entry), entry.key],
      );
    },

    async expire({ id, generation }, platformBudget) {
      const next = (await run(
        "expire",
        [keys.record(id), keys.leases, keys.outbox, keys.queued, keys.sweep],
        [
          id,
          generation,
          platformBudget,
          "queued again: the node that ran it was lost",
          recordTtlSeconds,
          keys.channels.donePrefix,
          NODE_LOST,
          CANCELLED,
        ],
      )) as number;
      if (next === 0) return "stale";
      if (next === -1) return "cancelled";
      if (next === -2) return "failed";
      const record = await invocations.get(id);
      return record ? { key: `${record.app}/${record.fn}`, id, generation: next } : "stale";
    },
  };
}
