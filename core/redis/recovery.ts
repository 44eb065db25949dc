/** Recovery on Redis: what a sweeper finds, and the steps that only it takes. */
import { FabricError } from "../errors.ts";
import { behind } from "../invocation.ts";
import type { Recovery } from "../recovery.ts";
import type { InvocationStore, QueuedEntry } from "../state-store.ts";
import type { Commands } from "./connection.ts";
import { CANCELLED } from "./invocations.ts";
import { parseLeaseMember, parseQueuedMember, queuedMember, type RedisKeys } from "./keys.ts";

const NODE_LOST = JSON.stringify(
  new FabricError(
    "node_lost",
    "The nodes that ran it stopped renewing their leases more often than the budget allows, which is never with at_most_once.",
  ).toBody(),
);
const QUEUE_EXPIRED = JSON.stringify(
  new FabricError(
    "queue_expired",
    "It waited in its queue longer than its ttl, or the function's max_queue_age, allows.",
  ).toBody(),
);

export function recovery(
  { run }: Commands,
  keys: RedisKeys,
  recordTtlSeconds: number,
  invocations: InvocationStore,
): Recovery {
  return {
    async find({ outboxAgeMs, leaseMs, queuedAgeMs, mapIdleMs, max }) {
      const [outbox, expired, queued, idleMaps] = (await run(
        "find",
        [keys.outbox, keys.leases, keys.queued, keys.sweep, keys.feeding, keys.limited],
        [outboxAgeMs, leaseMs, queuedAgeMs, max, mapIdleMs ?? "", keys.recordPrefix],
      )) as [Buffer[], Buffer[], Buffer[], Buffer[]];
      const entries = (members: Buffer[]): QueuedEntry[] => members.map((m) => parseQueuedMember(m.toString()));
      const attempts = expired.map((member) => parseLeaseMember(member.toString()));
      return { outbox: entries(outbox), expired: attempts, queued: entries(queued), idleMaps: idleMaps.map(String) };
    },

    async release(max) {
      const places = [keys.delayed, keys.outbox, keys.queued, keys.ageing];
      const [due, expired, nextInMs] = (await run("release", places, [max, keys.recordPrefix])) as [
        Buffer[],
        Buffer[],
        number,
      ];
      return {
        due: due.map((member) => parseQueuedMember(member.toString())),
        expired: expired.map(String),
        nextInMs: nextInMs < 0 ? undefined : nextInMs,
      };
    },

    async endExpired(id) {
      const done = await run(
        "end-expired",
        [keys.record(id), keys.ageing, keys.outbox, keys.queued, keys.delayed],
        [id, QUEUE_EXPIRED, recordTtlSeconds, keys.channels.donePrefix],
      );
      return done === 1 ? "ended" : "stale";
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
      return record ? { key: `${record.app}/${record.fn}`, id, generation: next, ...behind(record) } : "stale";
    },
  };
}
