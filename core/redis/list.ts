/** Which invocations there are: the latest accepted ones, and those that failed for as long as their records are kept. */
import type { InvocationRecord, InvocationState, ListFilter } from "../invocation.ts";
import { calledName, isOf, mayBeOf } from "../variant.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

/** What accept.lua keeps, about. */
const RECENT = 20_000;
const CHUNK = 500;

interface Listed {
  id: string;
  app: string;
  fn: string;
}

export function invocationList(
  { redis, safely }: Commands,
  keys: RedisKeys,
  read: (id: string) => Promise<InvocationRecord | undefined>,
) {
  async function recent(since: number | undefined, count: number): Promise<Listed[]> {
    const from = since === undefined ? "-" : String(since);
    const entries = await safely(() => redis.xrevrange(keys.recent, "+", from, "COUNT", count));
    return entries.map(([, fields]) => ({ id: fields[1]!, app: fields[3]!, fn: fields[5]! }));
  }

  /** Members are `<app>/<fn> <id>`, by the moment they failed. */
  async function failed(since: number | undefined): Promise<Listed[]> {
    const members = await safely(() => redis.zrange(keys.failed, "+inf", since ?? "-inf", "BYSCORE", "REV"));
    return members.map((member) => {
      const [key, id] = member.split(" ");
      const slash = key!.indexOf("/");
      return { id: id!, app: key!.slice(0, slash), fn: key!.slice(slash + 1) };
    });
  }

  async function inState(listed: Listed[], state: InvocationState): Promise<Listed[]> {
    const states = await Promise.all(listed.map(({ id }) => safely(() => redis.hget(keys.record(id), "state"))));
    return listed.filter((_, index) => states[index] === state);
  }

  /** Filtered by app and function as records. */
  async function childrenOf(parent: string, { app, fn, state, since = 0, limit }: ListFilter) {
    const ids = (await safely(() => redis.lrange(keys.calls(parent), 0, -1))).reverse();
    const isWanted = (one?: InvocationRecord): one is InvocationRecord =>
      one !== undefined &&
      (app === undefined || one.app === app) &&
      (fn === undefined || isOf(calledName(one), fn)) &&
      (state === undefined || one.state === state) &&
      one.createdAt >= since;
    return (await Promise.all(ids.map(read))).filter(isWanted).slice(0, limit);
  }

  return async (filter: ListFilter): Promise<InvocationRecord[]> => {
    const { app, fn, state, since, parent, limit } = filter;
    if (parent !== undefined) return childrenOf(parent, filter);
    const isFiltered = app !== undefined || fn !== undefined || state !== undefined;
    const all = state === "failed" ? await failed(since) : await recent(since, isFiltered ? RECENT : limit);
    const isNamed = (record: InvocationRecord): boolean => fn === undefined || isOf(calledName(record), fn);
    const wanted = all.filter(
      (one) => (app === undefined || one.app === app) && (fn === undefined || mayBeOf(one.fn, fn)),
    );
    const found: InvocationRecord[] = [];
    // Which method it was only the record knows, so more may have to be read than are wanted.
    for (let at = 0; at < wanted.length && found.length < limit; at += CHUNK) {
      const chunk = wanted.slice(at, at + CHUNK);
      const listed =
        state === undefined ? chunk.slice(0, fn === undefined ? limit : CHUNK) : await inState(chunk, state);
      const records = await Promise.all(listed.map(({ id }) => read(id)));
      for (const record of records) if (record && isNamed(record)) found.push(record);
    }
    return found.slice(0, limit);
  };
}
