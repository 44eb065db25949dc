/** InvocationStore on Redis: each step is one script in lua/. */
import { FabricError, fail } from "../errors.ts";
import { behind, type Caller, CHILDREN_KEPT, functionKey } from "../invocation.ts";
import { quotaExceeded, quotaText, type TokenQuota } from "../quota.ts";
import type { InvocationStore, QueuedEntry } from "../state-store.ts";
import type { Commands } from "./connection.ts";
import { parseLeaseMember, parseQueuedMember, queuedMember, type RedisKeys } from "./keys.ts";
import { invocationList } from "./list.ts";
import { newRecordFields, outcomeFields, parseRecord, plainFields } from "./record.ts";

export const IDEMPOTENCY_SECONDS = 86_400;

export const CANCELLED = JSON.stringify(new FabricError("cancelled", "The invocation was cancelled.").toBody());

export function invocationStore(commands: Commands, keys: RedisKeys, recordTtlSeconds: number): InvocationStore {
  const { redis, run, safely } = commands;
  const read = async (id: string) => parseRecord(id, flatten(await safely(() => redis.hgetallBuffer(keys.record(id)))));
  return {
    async accept(call, idempotency) {
      const { id: own, app, fn, version, caller } = call;
      const key = functionKey(app, fn);
      const plain = [keys.record(own), keys.outbox, keys.queued, keys.recent];
      const places = [...plain, keys.idempotency(app, idempotency?.key ?? "")];
      const member = queuedMember({ key, id: own, generation: 1, ...behind(call) });
      const { work, due } = keys.channels;
      const args = [own, member, idempotency?.digest ?? "", IDEMPOTENCY_SECONDS, app, fn];
      args.push(...callerArgs(caller), work, version);
      const fields = newRecordFields(call);
      const { delayMs = 0, maxQueueMs, debounceKey, redrivenFrom = "", priority, quota } = call;
      const isPlain = delayMs === 0 && maxQueueMs === undefined && redrivenFrom === "" && !priority && !quota;
      const [how, id, told] = (await (isPlain
        ? run("accept", places, [...args, ...fields])
        : run(
            "accept-with",
            [...places, keys.delayed, keys.ageing, keys.debounce(key, call.method ?? "", debounceKey ?? "")],
            [...args, due, delayMs, debounceKey === undefined ? "" : "1", redrivenFrom, quotaText(quota), ...fields],
          ))) as [0 | 1 | 2 | 3 | 4, Buffer, (Buffer | number)?];
      if (how === 1) return { id: own, created: true };
      if (how === 2) callerGone();
      if (how === 4) return refusedByQuota(id, told, quota);
      if (how === 3) return { id: id.toString(), created: false, replaced: told?.toString() };
      return {
        id: id.toString(),
        created: false,
        mismatch: idempotency !== undefined && told?.toString() !== idempotency.digest,
      };
    },

    async unclaimed(entries) {
      const standing = (await run("unclaimed", [keys.outbox], entries.map(queuedMember))) as number[];
      return standing.map((position) => entries[position - 1]!);
    },

    async enqueued(...entries) {
      const pairs = entries.flatMap((entry) => [queuedMember(entry), entry.key]);
      await run("enqueued", [keys.outbox, keys.work], [keys.channels.work, ...pairs]);
    },

    async claim({ id, generation }, { runner, node, leaseMs, take = Number.MAX_SAFE_INTEGER, key = "/", token = "" }) {
      const claimed = (await run(
        "claim",
        [
          keys.record(id),
          keys.leases,
          keys.queued,
          keys.outbox,
          keys.ageing,
          keys.ahead(key),
          keys.delayed,
          keys.limited,
        ],
        [id, generation, runner, node, leaseMs, take, keys.channels.due, token],
      )) as [Buffer, Buffer[]] | null;
      const [taken = "", flat] = claimed ?? [];
      const record = parseRecord(taken.toString(), flat);
      return record && { record, leaseMs, rest: record.slice && parseRest(flat!) };
    },

    async note({ id, generation }, facts) {
      const { startsOver, ...plain } = facts;
      const fields = plainFields({ ...plain, startsOver: startsOver === undefined ? undefined : Number(startsOver) });
      if (fields.length > 0) await run("note", [keys.record(id)], [generation, ...fields]);
    },

    async renew(runner, attempts, leaseMs) {
      if (attempts.length === 0) return { lost: [], cancel: [] };
      const pairs = attempts.flatMap(({ id, generation }) => [id, generation]);
      const [lost, cancel] = (await run("renew", [keys.leases], [runner, leaseMs, keys.recordPrefix, ...pairs])) as [
        Buffer[],
        Buffer[],
      ];
      const parse = (members: Buffer[]) => members.map((member) => parseLeaseMember(member.toString()));
      return { lost: parse(lost), cancel: parse(cancel) };
    },

    async finish({ id, generation }, outcome, moments) {
      const done = await run(
        "finish",
        [keys.record(id), keys.leases],
        [
          id,
          generation,
          outcome.state,
          recordTtlSeconds,
          keys.channels.donePrefix,
          ...outcomeFields(outcome),
          ...plainFields({ ...moments }),
        ],
      );
      return done === 1 ? "finished" : "stale";
    },

    async requeue({ id, generation }, charge, why, delayMs = 0, facts = {}) {
      const budget = { user: "userFaults", platform: "platformFaults", none: "" }[charge];
      const next = (await run(
        "requeue",
        [keys.record(id), keys.leases, keys.outbox, keys.queued, keys.delayed],
        [
          id,
          generation,
          budget,
          why,
          recordTtlSeconds,
          keys.channels.donePrefix,
          CANCELLED,
          delayMs,
          keys.channels.due,
          ...plainFields(facts),
        ],
      )) as number;
      if (next === 0) return "stale";
      if (next === -1) return "cancelled";
      if (next === -2) return "delayed";
      const [app, fn, priority] = await safely(() => redis.hmget(keys.record(id), "app", "fn", "priority"));
      return { key: functionKey(app!, fn!), id, generation: next, ...behind({ priority: Number(priority) }) };
    },

    async cancel(id, { unwanted = false } = {}) {
      const answer = await run(
        "cancel",
        [keys.record(id), keys.outbox, keys.queued, keys.delayed],
        [id, CANCELLED, recordTtlSeconds, keys.channels.donePrefix, keys.channels.cancelPrefix, unwanted ? 1 : 0],
      );
      return String(answer) as Awaited<ReturnType<InvocationStore["cancel"]>>;
    },

    get: read,

    async giveUp(id, error) {
      const done = await run(
        "give-up",
        [keys.record(id), keys.outbox, keys.queued, keys.delayed],
        [id, JSON.stringify(error), recordTtlSeconds, keys.channels.donePrefix],
      );
      return done === 1;
    },

    async keyHolders(id) {
      const members = (await run("key-holders", [keys.record(id)], [id])) as Buffer[];
      return members.map((member) => parseLeaseMember(member.toString()).id);
    },

    children: (id, limit) => safely(() => redis.lrange(keys.calls(id), -limit, -1)),
    liveChildren: (id) => safely(() => redis.smembers(keys.live(id))),

    list: invocationList(commands, keys, read),

    async watch(id, waiter) {
      return parseRecord(id, (await run("watch", [keys.record(id)], [waiter])) as Buffer[]);
    },

    async ownedBy(runner) {
      const members = await safely(() => redis.zrange(keys.leases, 0, -1));
      const records = await Promise.all(members.map((member) => read(parseLeaseMember(member).id)));
      return records.filter((record) => record?.state === "running" && record.runner === runner) as Exclude<
        (typeof records)[number],
        undefined
      >[];
    },
  };
}

/** What claim.lua says at the end, of a slice of which it left something. */
function parseRest(flat: Buffer[]): (QueuedEntry & { count: number }) | undefined {
  const [name, member, , count] = flat.slice(-4).map(String);
  return name === "rest" ? { ...parseQueuedMember(member!), count: Number(count) } : undefined;
}

/** What a script answers to a token that has no room, see accept-with.lua. */
export const refusedByQuota = (which: unknown, told: unknown, quota: TokenQuota | undefined): never =>
  quotaExceeded(String(which) as "rate" | "open", Number(told), quota);

export const callerArgs = (caller: Caller | undefined): [string, number, number] => [
  caller?.id ?? "",
  caller?.generation ?? 0,
  CHILDREN_KEPT,
];

export const callerGone = (): never => fail("cancelled", "The attempt that makes this call has ended.");

const flatten = (hash: Record<string, Buffer>): Buffer[] =>
  Object.entries(hash).flatMap(([name, value]) => [Buffer.from(name), value]);
