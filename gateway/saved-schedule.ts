/** What of a schedule outlives Redis: two small objects per function, so that a pause and a tick never overwrite each other. */
import { text } from "node:stream/consumers";
import type { FunctionKey } from "../core/invocation.ts";
import type { ObjectStore } from "../core/object-store.ts";
import type { ScheduleMemory, ScheduleState } from "../core/schedule-store.ts";
import type { StateStore } from "../core/state-store.ts";

const memoryKey = (key: FunctionKey): string => `schedules/${key}/state.json`;
/** There while the schedule is paused. */
const pausedKey = (key: FunctionKey): string => `schedules/${key}/paused.json`;

export async function readMemory(objects: ObjectStore, key: FunctionKey): Promise<ScheduleMemory | undefined> {
  const object = await objects.get(memoryKey(key));
  return object && (JSON.parse(await text(object.body)) as ScheduleMemory);
}

export const isPaused = async (objects: ObjectStore, key: FunctionKey): Promise<boolean> =>
  (await objects.head(pausedKey(key))) !== undefined;

export async function savePaused(objects: ObjectStore, key: FunctionKey, paused: boolean): Promise<void> {
  if (paused) await objects.put(pausedKey(key), "{}", { contentType: "application/json" });
  else await objects.delete(pausedKey(key));
}

export async function saveMemory(
  { objects, state }: { objects: ObjectStore; state: Pick<StateStore, "schedules"> },
  { key, revision, schedule, anchor, since, lastTick }: ScheduleState,
): Promise<void> {
  const memory: ScheduleMemory = { schedule, anchor, since, lastTick };
  await objects.put(memoryKey(key), JSON.stringify(memory), { contentType: "application/json" });
  await state.schedules.saved(key, revision);
}

/** The function has no schedule any more; whether it was paused counts again if it gets one back. */
export const forgetMemory = (objects: ObjectStore, key: FunctionKey): Promise<void> => objects.delete(memoryKey(key));

export const forgetAppSchedules = (objects: ObjectStore, app: string): Promise<number> =>
  objects.deletePrefix(`schedules/${app}/`);
