/** InvocationStore on Redis: each step is one script in lua/. */
import { FabricError } from "../errors.ts";
import { functionKey } from "../invocation.ts";
import type { InvocationStore } from "../state-store.ts";
import type { Commands } from "./connection.ts";
import { parseLeaseMember, queuedMember, type RedisKeys } from "./keys.ts";
import { newRecordFields, outcomeFields, parseRecord, plainFields } from "./record.ts";

const IDEMPOTENCY_SECONDS = 86_400;
/** What accept.lua keeps, about. */
const RECENT = 20_000;

export const CANCELLED = JSON.stringify(new FabricError("cancelled", "The invocation was cancelled.").toBody());

export function invocationStore(
  { redis, run, safely }: Commands,
  keys: RedisKeys,
  recordTtlSeconds: number,
): InvocationStore {
  const read = async (id: string) => parseRecord(id, flatten(await safely(() => redis.hgetallBuffer(keys.record(id)))));
  return {
    async accept(call, idempotency) {
      const entry = { key: functionKey(call.app, call.fn), id: call.id, generation: 1 };
      const [created, id, digest] = (await run(
        "accept",
        [
          keys.record(call.id),
          keys.outbox,
          keys.queued,
          keys.recent,
          keys.idempotency(call.app, idempotency?.key ?? ""),
        ],
        [
          call.id,
          queuedMember(entry),
          idempotency?.digest ?? "",
          IDEMPOTENCY_SECONDS,
          call.app,
          call.fn,
          ...newRecordFields(call),
        ],
      )) as [number, Buffer, Buffer?];
      if (created === 1) return { id: call.id, created: true };
      return { id: id.toString(), created: false, mismatch: digest?.toString() !== idempotency?.digest };
    },

    async enqueued(entry) {
      await run("enqueued", [keys.outbox, keys.work], [queuedMember(entry), entry.key, keys.channels.work]);
    },

    async claim({ id, generation }, { runner, node, leaseMs }) {
      const flat = await run(
        "claim",
        [keys.record(id), keys.leases, keys.queued],
        [id, generation, runner, node, leaseMs],
      );
      const record = parseRecord(id, flat as Buffer[] | null);
      return record && { record, leaseMs };
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

    async requeue({ id, generation }, charge, why) {
      const budget = { user: "userFaults", platform: "platformFaults", none: "" }[charge];
      const next = (await run(
        "requeue",
        [keys.record(id), keys.leases, keys.outbox, keys.queued],
        [id, generation, budget, why, recordTtlSeconds, keys.channels.donePrefix, CANCELLED],
      )) as number;
      if (next === 0) return "stale";
      if (next === -1) return "cancelled";
      const [app, fn] = await safely(() => redis.hmget(keys.record(id), "app", "fn"));
      return { key: functionKey(app!, fn!), id, generation: next };
    },

    async cancel(id) {
      const answer = await run(
        "cancel",
        [keys.record(id), keys.outbox, keys.queued],
        [id, CANCELLED, recordTtlSeconds, keys.channels.donePrefix, keys.channels.cancelPrefix],
      );
      return String(answer) as Awaited<ReturnType<InvocationStore["cancel"]>>;
    },

    get: read,

    async list({ app, fn, limit }) {
      const count = app === undefined && fn === undefined ? limit : RECENT;
      const entries = await safely(() => redis.xrevrange(keys.recent, "+", "-", "COUNT", count));
      const wanted = entries
        .map(([, fields]) => ({ id: fields[1]!, app: fields[3]!, fn: fields[5]! }))
        .filter((entry) => (app === undefined || entry.app === app) && (fn === undefined || entry.fn === fn))
        .slice(0, limit);
      const records = await Promise.all(wanted.map(({ id }) => read(id)));
      return records.filter((record) => record !== undefined);
    },

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

const flatten = (hash: Record<string, Buffer>): Buffer[] =>
  Object.entries(hash).flatMap(([name, value]) => [Buffer.from(name), value]);
