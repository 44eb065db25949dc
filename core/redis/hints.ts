/** Hints and holds on Redis: pub/sub, a set of functions with work, and small keys with an end. */
import type { FunctionKey } from "../invocation.ts";
import type { Hints, Holds } from "../state-store.ts";
import type { Commands, Subscriber } from "./connection.ts";
import { parseLeaseMember, parseOffer, type RedisKeys } from "./keys.ts";
import { parsePacked } from "./record.ts";

export function hints({ redis, safely }: Commands, subscriber: Subscriber, keys: RedisKeys): Hints {
  const { channels } = keys;
  return {
    onWork: (listener) =>
      subscriber.on(channels.work, (message) => {
        const text = message.toString();
        const offer = parseOffer(text);
        listener(offer?.key ?? (text as FunctionKey), offer);
      }),
    functionsWithWork: () => safely(async () => (await redis.smembers(keys.work)) as FunctionKey[]),

    async idle(key, isEmpty) {
      // Taken out first, looked at second: work that arrives in between lists the function again by itself.
      await safely(() => redis.srem(keys.work, key));
      if (!(await isEmpty())) await safely(() => redis.sadd(keys.work, key));
    },

    onDue: (listener) => subscriber.on(channels.due, listener),
    onDone: (waiter, listener) =>
      subscriber.on(channels.donePrefix + waiter, (message) => listener(parsePacked(message))),
    onCancel: (runner, listener) =>
      subscriber.on(channels.cancelPrefix + runner, (member) => listener(parseLeaseMember(member.toString()))),
    appChanged: (app) => safely(async () => void (await redis.publish(channels.app, app))),
    onAppChanged: (listener) => subscriber.on(channels.app, (app) => listener(app.toString())),
    onLog: (app, listener) => subscriber.on(channels.log(app), listener),
    onChange: (invocation, listener) => subscriber.on(channels.follow(invocation), listener),
  };
}

export function holds({ redis, run, safely }: Commands, keys: RedisKeys): Holds {
  return {
    async takeSeries(series, { id, generation }) {
      const owner = String(await run("take-series", [keys.series(series)], [id, generation, keys.recordPrefix]));
      return owner === "" ? { ok: true } : { ok: false, owner };
    },
    keepEphemeral: (app, version, manifest, ttlMs) =>
      safely(async () => void (await redis.set(keys.ephemeral(app, version), manifest, "PX", ttlMs))),
    ephemeral: (app, version) => safely(async () => (await redis.get(keys.ephemeral(app, version))) ?? undefined),
    async takeUpload(upload, key, ttlMs) {
      const owner = await safely(() => redis.set(keys.upload(upload), key, "PX", ttlMs, "NX", "GET"));
      if (owner === null) return "taken";
      return key !== "" && owner === key ? "ours" : "others";
    },
    leaveUpload: (upload) => safely(async () => void (await redis.del(keys.upload(upload)))),
    dropEphemeral: (app, version) => safely(async () => void (await redis.del(keys.ephemeral(app, version)))),
  };
}
