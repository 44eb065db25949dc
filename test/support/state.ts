/** The live state on a test's Redis, once it is connected. */
import { type RedisStateOptions, redisState } from "../../core/redis-state.ts";
import type { StateStore } from "../../core/state-store.ts";
import { until } from "./redis.ts";

export async function connectState(options: RedisStateOptions): Promise<StateStore> {
  const state = redisState(options);
  const answers = (): Promise<boolean> =>
    state.ping().then(
      () => true,
      () => false,
    );
  await until(answers, 5_000, "Redis answers");
  return state;
}
