/** ImageState on Redis: a hint, of each image three keys that end by themselves, and a sorted set of all by when they were needed. */
import { z } from "zod";
import type { ImageState } from "../image-state.ts";
import type { Commands, Subscriber } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

const claimSchema = z.object({ owner: z.string(), done: z.number(), total: z.number() });
/** What was said longer ago may not be so any more. */
const SAID_MS = 5_000;
/** What nobody has needed for so long is on no node any more. */
const FORGET_MS = 400 * 86_400_000;

export function imageState({ redis, safely }: Commands, subscriber: Subscriber, keys: RedisKeys): ImageState {
  const channel = keys.channels.image;
  const now = async (): Promise<number> => {
    const [seconds, micros] = await redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  };
  const ownerIn = (claim: string | null): string | undefined =>
    claim === null ? undefined : claimSchema.parse(JSON.parse(claim)).owner;

  return {
    ask: (ref) =>
      safely(async () => {
        const { claim, lack, failure } = keys.image(ref);
        const [told, isLacking, why] = await Promise.all([redis.get(claim), redis.exists(lack), redis.get(failure)]);
        await redis.publish(channel, ref);
        const storing = told === null ? undefined : claimSchema.parse(JSON.parse(told));
        return {
          ...(storing ? { storing: { done: storing.done, total: storing.total } } : {}),
          isLacking: isLacking === 1,
          ...(why === null ? {} : { failure: why }),
        };
      }),
    onAsked: (listener) => subscriber.on(channel, (ref) => listener(ref.toString())),
    claim: (ref, owner, leaseMs, progress) =>
      safely(async () => {
        const { claim } = keys.image(ref);
        const told = JSON.stringify({ owner, ...progress });
        if ((await redis.set(claim, told, "PX", leaseMs, "NX")) === "OK") return true;
        if (ownerIn(await redis.get(claim)) !== owner) return false;
        return (await redis.set(claim, told, "PX", leaseMs, "XX")) === "OK";
      }),
    settle: (ref, owner, why) =>
      safely(async () => {
        const { claim, failure } = keys.image(ref);
        if (ownerIn(await redis.get(claim)) === owner) await redis.del(claim);
        if (why !== undefined) await redis.set(failure, why, "PX", SAID_MS);
      }),
    need: (refs) =>
      safely(async () => {
        const at = await now();
        if (refs.length > 0) await redis.zadd(keys.images, ...refs.flatMap((ref) => [at, ref]));
      }),
    unneededMs: (refs) =>
      safely(async () => {
        const at = await now();
        if (refs.length > 0) await redis.zadd(keys.images, "NX", ...refs.flatMap((ref) => [at, ref]));
        await redis.zremrangebyscore(keys.images, 0, at - FORGET_MS);
        return Promise.all(refs.map(async (ref) => at - Number(await redis.zscore(keys.images, ref))));
      }),
    lack: (ref) => safely(async () => void (await redis.set(keys.image(ref).lack, 1, "PX", SAID_MS))),
  };
}
