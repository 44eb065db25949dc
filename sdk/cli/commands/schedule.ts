/** `fabric schedule ...`: what runs by itself, and stopping, resuming or running it in between. */
import type { ScheduleStatus } from "../../typescript/client.ts";
import { type Context, UsageError } from "../context.ts";
import { moment, table } from "../table.ts";

interface Json {
  json?: boolean;
}

export async function list(options: Json, { terminal, client }: Context): Promise<void> {
  const body = await client().schedules();
  if (options.json) return terminal.json(body);
  if (body.schedules.length === 0) return terminal.note("no function has a schedule: @app.function(schedule=...)");
  const columns = ["function", "schedule", "next", "last", "call", "state"];
  for (const line of table(body.schedules.map(rowOf), columns)) terminal.out(line);
}

const rowOf = (status: ScheduleStatus): Record<string, unknown> => ({
  ...status,
  function: `${status.app}/${status.function}`,
  next: status.paused ? "paused" : moment(status.nextTick),
  last: moment(status.lastTick),
  call: status.lastInvocation?.id,
  state: status.lastInvocation?.state,
});

export async function pause(target: string, options: Json, { terminal, client }: Context): Promise<void> {
  const status = await client().pauseSchedule(...named(target));
  if (options.json) terminal.json(status);
  else terminal.out(`${target} is paused`);
}

export async function resume(target: string, options: Json, { terminal, client }: Context): Promise<void> {
  const status = await client().resumeSchedule(...named(target));
  if (options.json) terminal.json(status);
  else terminal.out(`${target} runs next at ${moment(status.nextTick)} UTC`);
}

export async function trigger(target: string, options: Json, { terminal, client }: Context): Promise<void> {
  const made = await client().triggerSchedule(...named(target));
  if (options.json) terminal.json(made);
  else terminal.out(made.id);
}

function named(target: string): [app: string, fn: string] {
  const [app, fn, ...rest] = target.split("/");
  if (!app || !fn || rest.length > 0) throw new UsageError(`'${target}' is not APP/FUNCTION`);
  return [app, fn];
}
