/** The live state on a test's Redis, once it is connected; and a Redis for a file, with a live state for each of its tests. */
import { afterAll, beforeAll, beforeEach } from "vitest";
import { type RedisStateOptions, redisState } from "../../core/redis-state.ts";
import type { StateStore } from "../../core/state-store.ts";
import { startRedis, type TestRedis, until } from "./redis.ts";

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

export interface Fresh {
  redis: TestRedis;
  state: StateStore;
  /** Of its keys: no other test's. */
  prefix: string;
}

/** Tells `use` before each test of the file what that one has. */
export function freshStates(use: (fresh: Fresh) => void): void {
  let redis: TestRedis;
  let count = 0;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());
  beforeEach(async () => {
    const prefix = `t${count++}`;
    const state = await connectState({ url: redis.url, prefix, recordTtlSeconds: 60 });
    use({ redis, state, prefix });
    return () => state.close();
  });
}
