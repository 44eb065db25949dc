/** Cancels an invocation and whatever was called below it. */
import type { InvocationStore } from "./state-store.ts";

type Store = Pick<InvocationStore, "cancel" | "liveChildren">;

/** So many at a time: each has a tree of its own. */
const AT_ONCE = 50;

/** What is below is cancelled too unless it had ended already, or is still wanted (see InvocationStore.cancel). */
export async function cancelTree(
  invocations: Store,
  id: string,
  options: { unwanted?: boolean } = {},
): ReturnType<Store["cancel"]> {
  const outcome = await invocations.cancel(id, options);
  if (outcome === "cancelled" || outcome === "cancelling") await cancelBelow(invocations, id);
  return outcome;
}

/** With `unwanted`: after an attempt has ended, so that nothing goes on for nobody. */
export async function cancelBelow(invocations: Store, id: string, options: { unwanted?: boolean } = {}): Promise<void> {
  const children = await invocations.liveChildren(id);
  for (let at = 0; at < children.length; at += AT_ONCE)
    await Promise.all(children.slice(at, at + AT_ONCE).map((child) => cancelTree(invocations, child, options)));
}
