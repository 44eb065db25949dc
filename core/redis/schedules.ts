/** ScheduleStore on Redis: a hash per schedule, and sorted sets of what is due, taken and not saved. */
import type { FunctionKey } from "../invocation.ts";
import type { Schedule } from "../schedule.ts";
import type { ScheduleState, ScheduleStore, Tick } from "../schedule-store.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

export function scheduleStore({ redis, run, safely }: Commands, keys: RedisKeys): ScheduleStore {
  const { all, due, taken, unsaved, looked } = keys.schedules;
  const get = async (key: FunctionKey): Promise<ScheduleState | undefined> => {
    const [fields, next] = await safely(() => Promise.all([redis.hgetall(keys.schedule(key)), redis.zscore(due, key)]));
    return parseState(key, fields, next);
  };
  const getAll = async (names: (string | Buffer)[]): Promise<ScheduleState[]> => {
    const states = await Promise.all(names.map((name) => get(name.toString() as FunctionKey)));
    return states.filter((state) => state !== undefined);
  };
  return {
    get,
    list: async () => getAll((await safely(() => redis.smembers(all))).sort()),

    async find({ ageMs, max }) {
      const found = await run("schedule-find", [due, taken, unsaved], [ageMs, max]);
      const [now, dueKeys, ticks, unsavedKeys, next] = found as [number, Buffer[], Buffer[], Buffer[], Buffer];
      return {
        now,
        due: await getAll(dueKeys),
        taken: ticks.map((member) => parseTick(member.toString())),
        unsaved: await getAll(unsavedKeys),
        nextDue: next.length === 0 ? undefined : Number(next),
      };
    },

    async put({ key, version, schedule, anchor, since, lastTick, paused, nextTick }) {
      const fields = ["anchor", anchor, "since", since, ...(lastTick === undefined ? [] : ["lastTick", lastTick])];
      await run(
        "schedule-put",
        [keys.schedule(key), all, due, unsaved],
        [key, JSON.stringify(schedule), version, nextTick ?? "", paused ? 1 : "", ...fields],
      );
    },

    async remove(key) {
      await run("schedule-remove", [keys.schedule(key), all, due, unsaved], [key]);
    },

    async take(key, tick, { make, next }) {
      const member = make === undefined ? "" : tickMember({ key, tick: make });
      return (await run("schedule-take", [due, taken], [key, tick, next ?? "", member])) === 1;
    },

    async made(tick, invocation) {
      const args = [tickMember(tick), tick.key, tick.tick, invocation ?? ""];
      await run("schedule-made", [taken, keys.schedule(tick.key), unsaved], args);
    },

    pause: async (key) => (await run("schedule-pause", [keys.schedule(key), due], [key])) === 1,
    resume: async (key, since, next) =>
      (await run("schedule-resume", [keys.schedule(key), due, unsaved], [key, since, next ?? ""])) === 1,

    async saved(key, revision) {
      await run("schedule-saved", [keys.schedule(key), unsaved], [key, revision]);
    },

    mayLook: (everyMs) => safely(async () => (await redis.set(looked, 1, "PX", everyMs, "NX")) === "OK"),
  };
}

const tickMember = ({ key, tick }: Tick): string => `${key} ${tick}`;

function parseTick(member: string): Tick {
  const space = member.indexOf(" ");
  return { key: member.slice(0, space) as FunctionKey, tick: Number(member.slice(space + 1)) };
}

function parseState(key: FunctionKey, raw: Record<string, string>, next: string | null): ScheduleState | undefined {
  if (raw.schedule === undefined) return undefined;
  return {
    key,
    schedule: JSON.parse(raw.schedule) as Schedule,
    version: raw.version!,
    anchor: Number(raw.anchor),
    since: Number(raw.since),
    paused: raw.paused !== undefined,
    nextTick: next === null ? undefined : Number(next),
    lastTick: raw.lastTick === undefined ? undefined : Number(raw.lastTick),
    lastInvocation: raw.lastInvocation,
    revision: Number(raw.revision),
  };
}
