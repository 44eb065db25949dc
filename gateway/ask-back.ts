/** Tells a call that its token's max_queued refused when to come back: when some of the function's calls should be through. */
import type { Target } from "../core/catalog.ts";
import { asFabricError, FabricError } from "../core/errors.ts";
import { drainSeconds } from "../core/wait.ts";
import type { Waits } from "./waits.ts";

export async function askBack<T>(waits: Pick<Waits, "fleet">, { key }: Target, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (thrown) {
    const { code, message, details } = asFabricError(thrown);
    if (code !== "quota_exceeded" || details?.retryAfterSeconds !== undefined) throw thrown;
    const some = Math.ceil(Number(details?.open) / 10);
    const retryAfterSeconds = drainSeconds((await waits.fleet()).loads.get(key), some);
    throw new FabricError(code, message, { ...details, retryAfterSeconds }, { cause: thrown });
  }
}
