/** Makes the live schedules those of the apps' current versions: after a deploy, and again and again in case one got lost. */
import { isDeepStrictEqual } from "node:util";
import { functionKey, splitFunctionKey } from "../core/invocation.ts";
import { nextTick, type Schedule } from "../core/schedule.ts";
import type { ScheduleMemory, ScheduleState } from "../core/schedule-store.ts";
import type { VersionManifest } from "../core/spec.ts";
import type { GatewayDeps } from "./deps.ts";
import { forgetMemory, isPaused, readMemory } from "./saved-schedule.ts";

type Deps = Pick<GatewayDeps, "registry" | "state" | "objects" | "clock">;

/** Function name -> schedule. Manifests of earlier releases know no schedules. */
export const schedulesOf = (manifest: VersionManifest | undefined): Map<string, Schedule> =>
  new Map((manifest?.functions ?? []).flatMap(({ name, schedule }) => (schedule ? [[name, schedule] as const] : [])));

export async function syncSchedules(deps: Deps, app: string): Promise<void> {
  const known = await deps.state.schedules.list();
  await syncApp(
    deps,
    app,
    known.filter(({ key }) => splitFunctionKey(key).app === app),
  );
}

export async function syncAllSchedules(deps: Deps): Promise<void> {
  const known = await deps.state.schedules.list();
  const apps = new Set([...(await deps.registry.apps()), ...known.map(({ key }) => splitFunctionKey(key).app)]);
  for (const app of apps)
    await syncApp(
      deps,
      app,
      known.filter(({ key }) => splitFunctionKey(key).app === app),
    );
}

async function syncApp(deps: Deps, app: string, known: ScheduleState[]): Promise<void> {
  const manifest = await deps.registry.current(app);
  const wanted = schedulesOf(manifest);
  for (const { key } of known) {
    if (wanted.has(splitFunctionKey(key).fn)) continue;
    await deps.state.schedules.remove(key);
    await forgetMemory(deps.objects, key);
  }
  for (const [fn, schedule] of wanted) {
    const key = functionKey(app, fn);
    const before = known.find((state) => state.key === key);
    const isAsWanted = before && isDeepStrictEqual(before.schedule, schedule);
    if (isAsWanted && before.version === manifest!.version && (before.paused || before.nextTick !== undefined))
      continue;
    const memory = isAsWanted ? before : await recalled(deps, key, schedule);
    const paused = isAsWanted ? before.paused : await isPaused(deps.objects, key);
    await deps.state.schedules.put({ ...memory, key, version: manifest!.version, paused, nextTick: following(memory) });
  }
}

/** What the bucket knows of exactly this schedule; a new or changed one begins now. */
async function recalled(
  { objects, clock }: Deps,
  key: `${string}/${string}`,
  schedule: Schedule,
): Promise<ScheduleMemory> {
  const memory = await readMemory(objects, key);
  if (memory && isDeepStrictEqual(memory.schedule, schedule)) return memory;
  const now = clock.now();
  return { schedule, anchor: now, since: now };
}

export const following = ({ schedule, anchor, since, lastTick = 0 }: ScheduleMemory): number | undefined =>
  nextTick(schedule, anchor, Math.max(since, lastTick));
