/** Takes an app away: its versions, its schedules, its waiting calls and its queues. What runs is asked to end. */
import { functionKey, isTerminal } from "../core/invocation.ts";
import type { GatewayDeps } from "./deps.ts";
import { forgetAppSchedules } from "./saved-schedule.ts";
import { syncSchedules } from "./sync-schedules.ts";

const HISTORY = 10_000;

/** Answers how many calls it cancelled. */
export async function deleteApp(
  deps: Pick<GatewayDeps, "registry" | "catalog" | "state" | "queue" | "objects" | "clock">,
  app: string,
): Promise<number> {
  const { registry, catalog, state, queue } = deps;
  const { functions } = await catalog.manifest(app);
  await registry.remove(app);
  await syncSchedules(deps, app);
  await forgetAppSchedules(deps.objects, app);
  const calls = await state.invocations.list({ app, limit: HISTORY });
  const numbered = calls.filter((call) => !isTerminal(call.state) && !call.version.startsWith("run_"));
  await Promise.all(numbered.map(({ id }) => state.invocations.cancel(id)));
  const queues = new Set([...functions.map(({ name }) => name), ...numbered.map(({ fn }) => fn)]);
  // Entries of an ephemeral version in the same queue come back through the sweep.
  await Promise.all([...queues].map((name) => queue.remove(functionKey(app, name))));
  await state.hints.appChanged(app);
  return numbered.length;
}
