/** Takes an app away: its versions, its waiting calls and its queues. What runs is asked to end. */
import { functionKey, isTerminal } from "../core/invocation.ts";
import type { GatewayDeps } from "./deps.ts";

const HISTORY = 10_000;

/** Answers how many calls it cancelled. */
export async function deleteApp(
  { registry, catalog, state, queue }: Pick<GatewayDeps, "registry" | "catalog" | "state" | "queue">,
  app: string,
): Promise<number> {
  const { functions } = await catalog.manifest(app);
  await registry.remove(app);
  const calls = await state.invocations.list({ app, limit: HISTORY });
  const numbered = calls.filter((call) => !isTerminal(call.state) && !call.version.startsWith("run_"));
  await Promise.all(numbered.map(({ id }) => state.invocations.cancel(id)));
  // Entries of an ephemeral version in the same queue come back through the sweep.
  await Promise.all(functions.map(({ name }) => queue.remove(functionKey(app, name))));
  await state.hints.appChanged(app);
  return numbered.length;
}
