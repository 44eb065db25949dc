/** The capacity ledger on Redis: one hash of nodes, one hash of bookings for each. */
import type { Booking, CapacityLedger, Earmark, NodeFacts } from "../capacity-ledger.ts";
import type { Commands } from "./connection.ts";
import type { RedisKeys } from "./keys.ts";

export function capacityLedger({ redis, run, safely }: Commands, keys: RedisKeys): CapacityLedger {
  return {
    announce: (node, ttlMs) =>
      safely(async () => {
        await Promise.all([
          redis.hset(keys.nodes, node.id, JSON.stringify(node)),
          redis.set(keys.alive(node.id), "1", "PX", ttlMs),
        ]);
      }),

    withdraw: (node) =>
      safely(async () => {
        await redis.multi().hdel(keys.nodes, node).del(keys.alive(node), keys.booked(node)).exec();
      }),

    nodes: () =>
      safely(async () => {
        const known = Object.values(await redis.hgetall(keys.nodes)).map((text) => JSON.parse(text) as NodeFacts);
        const alive = await Promise.all(known.map((node) => redis.exists(keys.alive(node.id))));
        return known.filter((_, i) => alive[i] === 1);
      }),

    async book(requests, gang) {
      const [booked, answer] = (await run(
        "book",
        [keys.nodes, keys.earmark],
        [
          keys.bookedPrefix,
          keys.alivePrefix,
          JSON.stringify(requests),
          gang ? gang.waitedMs : "",
          ...(gang?.without ?? []),
        ],
      )) as [number, Buffer];
      if (booked === 0) return { refused: answer.toString() };
      return (JSON.parse(answer.toString()) as Booking[]).map(withGpuList);
    },

    earmark: () =>
      safely(async () => {
        const text = await redis.get(keys.earmark);
        return text === null ? undefined : (JSON.parse(text) as Earmark);
      }),

    release: (node, containers) =>
      safely(async () => {
        if (containers.length > 0) await redis.hdel(keys.booked(node), ...containers);
      }),

    async lend(node, waits) {
      const pairs = Object.entries(waits).flatMap(([container, lines]) => [container, JSON.stringify(lines)]);
      if (pairs.length > 0) await run("lend", [keys.booked(node)], pairs);
    },

    bookings: (node) =>
      safely(async () => (await redis.hvals(keys.booked(node))).map((text) => withGpuList(JSON.parse(text)))),
  };
}

/** Redis' cjson writes an empty list as `{}`. */
const withGpuList = (booking: Booking): Booking => ({
  ...booking,
  gpus: Array.isArray(booking.gpus) ? booking.gpus : [],
});
