/** MapStore on Redis: each step is one script in lua/. */
import { fail } from "../errors.ts";
import { decodeBlock, MAX_WAITING_INPUTS } from "../map.ts";
import type { MapStore } from "../map-store.ts";
import { quotaText } from "../quota.ts";
import type { Commands, Subscriber } from "./connection.ts";
import { CANCELLED, callerArgs, callerGone, IDEMPOTENCY_SECONDS, refusedByQuota } from "./invocations.ts";
import { parseQueuedMember, type RedisKeys } from "./keys.ts";
import { newRecordFields } from "./record.ts";

const BUDGETS = { user: "userFaults", platform: "platformFaults", none: "" };

export function mapStore(
  { redis, run, safely }: Commands,
  subscriber: Subscriber,
  keys: RedisKeys,
  recordTtlSeconds: number,
): MapStore {
  const entry = (member: unknown) => parseQueuedMember(String(member));
  async function seal(map: string, idleMs?: number): Promise<boolean> {
    const facts = [recordTtlSeconds, keys.channels.donePrefix, map, idleMs ?? ""];
    return (await run("seal", [keys.record(map), keys.feeding], facts)) === 1;
  }
  return {
    async open(call, idempotency) {
      const [created, id, digest] = (await run(
        "open-map",
        [keys.record(call.id), keys.recent, keys.idempotency(call.app, idempotency?.key ?? "")],
        [
          call.id,
          idempotency?.digest ?? "",
          IDEMPOTENCY_SECONDS,
          call.app,
          call.fn,
          call.version,
          call.redrivenFrom ?? "",
          ...callerArgs(call.caller),
          quotaText(call.quota),
          ...newRecordFields({ ...call, encoding: "json" }),
        ],
      )) as [number, Buffer, (Buffer | number)?];
      if (created === 1) return { id: call.id, created: true };
      if (created === 2) callerGone();
      if (created === 4) return refusedByQuota(id, digest, call.quota);
      return {
        id: id.toString(),
        created: false,
        mismatch: idempotency !== undefined && digest?.toString() !== idempotency.digest,
      };
    },

    async append(map, { first, count, body, maxWaiting = MAX_WAITING_INPUTS, quota }) {
      const [answer, fact, inlineBytes] = (await run(
        "append",
        [keys.record(map), keys.outbox, keys.queued, keys.page(map, first)],
        [first, count, body ?? "", keys.channels.work, maxWaiting, quotaText(quota)],
      )) as [Buffer | number, Buffer | number | undefined, Buffer | number | undefined];
      switch (answer.toString()) {
        case "stored":
          return { entry: entry(fact), inlineBytes: Number(inlineBytes) };
        case "repeated":
          return { inlineBytes: Number(fact) };
        case "full":
          return fail("queue_full", `${fact} inputs of ${map} wait: further ones can be appended when some have ended`);
        case "4":
          return refusedByQuota(fact, inlineBytes, quota);
        case "missing":
          return fail("invocation_not_found", `no map '${map}', or its record has expired`);
        case "ended":
          return fail("invocation_ended", `${map} has ended already`, { id: map });
        case "sealed":
          return fail("map_sealed", `the last input of ${map} was sent before`, { id: map });
        default:
          return fail("map_gap", `the next input of ${map} has index ${fact}, not ${first}`, { next: fact });
      }
    },

    async seal(map) {
      if (!(await seal(map))) fail("invocation_not_found", `no map '${map}', or its record has expired`);
    },
    sealIdle: seal,
    runs: async (map) => (await run("map-runs", [keys.record(map)], [])) === 1,

    pages: (map) => safely(async () => (await redis.hkeys(keys.left(map))).map(Number).sort((a, b) => a - b)),
    async sliceOf(map, index) {
      const id = await run("find-slice", [keys.record(map)], [index]);
      return id === null ? undefined : String(id);
    },
    page: (map, first) => safely(async () => (await redis.getBuffer(keys.page(map, first))) ?? undefined),

    async split({ id, generation }, keep) {
      const member = await run("split", [keys.record(id), keys.outbox, keys.queued], [generation, keep, CANCELLED]);
      return member === null ? undefined : entry(member);
    },

    async finish({ id, generation }, { block, succeeded, failed, again }) {
      const ranges = again.flatMap(({ first, count, charge, solo, delayMs, why }) => [
        first,
        count,
        BUDGETS[charge],
        solo ? "1" : "",
        delayMs,
        why,
      ]);
      const members = (await run(
        "finish-slice",
        [keys.record(id), keys.leases, keys.outbox, keys.queued, keys.delayed],
        [
          id,
          generation,
          recordTtlSeconds,
          keys.channels.donePrefix,
          block ?? "",
          succeeded,
          failed,
          CANCELLED,
          keys.channels.due,
          block && decodeBlock(block).head.key ? "1" : "",
          ...ranges,
        ],
      )) as Buffer[] | null;
      return members === null ? "stale" : { entries: members.map(entry) };
    },

    blocks: (map, from, max) => safely(() => redis.lrangeBuffer(keys.blocks(map), from, from + max - 1)),
    onBlock: (map, listener) => subscriber.on(keys.channels.map(map), listener),
  };
}
