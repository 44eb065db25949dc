/** Letters between runners on Redis: a stream for each node, and pub/sub as the hint. */
import type { PostStore } from "../post-store.ts";
import type { Commands, Subscriber } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

/** More than this lies only in the box of a runner that does not look any more. */
const MOST_LETTERS = 4_096;
/** Whoever is away longer has lost its gangs anyway. */
const KEPT_MS = 120_000;

export function postStore({ redis, run, safely }: Commands, subscriber: Subscriber, keys: RedisKeys): PostStore {
  return {
    async post(node, letters) {
      const facts = [keys.channels.post(node), MOST_LETTERS, KEPT_MS];
      return (await run("post", [keys.post(node)], [...facts, ...letters])) === 1;
    },
    look: (node, limit) =>
      safely(async () => {
        const found = await redis.xrangeBuffer(keys.post(node), "-", "+", "COUNT", limit);
        return found.map(([id, fields]) => ({ id: id.toString(), bytes: fields[1]! }));
      }),
    drop: (node, ids) =>
      safely(async () => {
        if (ids.length > 0) await redis.xdel(keys.post(node), ...ids);
      }),
    clear: (node) => safely(async () => void (await redis.del(keys.post(node)))),
    onPost: (node, listener) => subscriber.on(keys.channels.post(node), listener),
  };
}
