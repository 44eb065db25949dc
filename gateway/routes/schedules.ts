/** Routes of schedules: what runs when, and stopping, resuming or running it in between. */
import { z } from "@hono/zod-openapi";
import { checkAppName, checkFunctionName } from "../../core/catalog.ts";
import { fail } from "../../core/errors.ts";
import { functionKey, splitFunctionKey } from "../../core/invocation.ts";
import { nextTick, scheduleText } from "../../core/schedule.ts";
import type { ScheduleState } from "../../core/schedule-store.ts";
import { defineRoute, type GatewayApp, type GatewayContext, param, type RouteDoc } from "../define-route.ts";
import type { GatewayDeps } from "../deps.ts";
import { invokeScheduled } from "../make-ticks.ts";
import { savePaused } from "../saved-schedule.ts";

const shownSchema = z
  .object({
    app: z.string(),
    function: z.string(),
    version: z.string(),
    schedule: z.string().openapi({ example: "0 9 * * * Europe/Berlin" }),
    onMissed: z.enum(["run_once", "skip"]),
    paused: z.boolean(),
    nextTick: z.iso.datetime().optional(),
    lastTick: z.iso.datetime().optional(),
    /** Of the last tick; without a state when its record has expired. */
    lastInvocation: z.object({ id: z.string(), state: z.string().optional() }).optional(),
  })
  .openapi("Schedule");

export function scheduleRoutes(app: GatewayApp, deps: GatewayDeps): void {
  const show = (state: ScheduleState) => showSchedule(deps, state);
  defineRoute(
    app,
    {
      method: "get",
      path: "/v1/schedules",
      tag: "schedules",
      summary: "List the schedules of all apps' current versions",
      reply: { schema: z.object({ schedules: z.array(shownSchema) }) },
    },
    async (context) => context.json({ schedules: await Promise.all((await deps.state.schedules.list()).map(show)) }),
  );
  defineRoute(app, verb("pause", "Make no further ticks until it is resumed"), async (context) => {
    const { key } = await named(deps, context);
    await savePaused(deps.objects, key, true);
    if (!(await deps.state.schedules.pause(key))) missing(key);
    return context.json(await show(await named(deps, context)));
  });
  defineRoute(app, verb("resume", "Make ticks again, from the next one on"), async (context) => {
    const { key, schedule, anchor } = await named(deps, context);
    await savePaused(deps.objects, key, false);
    const now = deps.clock.now();
    if (!(await deps.state.schedules.resume(key, now, nextTick(schedule, anchor, now)))) missing(key);
    return context.json(await show(await named(deps, context)));
  });
  defineRoute(
    app,
    {
      ...verb("trigger", "Run it now, paused or not; its ticks stay as they are"),
      reply: { status: 202, schema: z.object({ id: z.string() }), what: "The invocation it made" },
    },
    async (context) => {
      const id = await invokeScheduled(deps, await named(deps, context));
      return context.json({ id }, 202, { Location: `/v1/invocations/${id}` });
    },
  );
}

const verb = (name: string, summary: string): RouteDoc => ({
  method: "post",
  path: `/v1/schedules/{app}/{fn}/${name}`,
  tag: "schedules",
  summary,
  reply: { schema: shownSchema },
});

const missing = (key: string): never => fail("schedule_not_found", `'${key}' has no schedule`, { function: key });

async function named({ state }: GatewayDeps, context: GatewayContext): Promise<ScheduleState> {
  const [app, fn] = [param(context, "app"), param(context, "fn")];
  checkAppName(app);
  checkFunctionName(fn);
  const key = functionKey(app, fn);
  return (await state.schedules.get(key)) ?? missing(key);
}

async function showSchedule({ state }: GatewayDeps, schedule: ScheduleState): Promise<z.infer<typeof shownSchema>> {
  const { app, fn } = splitFunctionKey(schedule.key);
  const { lastInvocation } = schedule;
  const record = lastInvocation === undefined ? undefined : await state.invocations.get(lastInvocation);
  return {
    app,
    function: fn,
    version: schedule.version,
    schedule: scheduleText(schedule.schedule),
    onMissed: schedule.schedule.on_missed,
    paused: schedule.paused,
    nextTick: iso(schedule.nextTick),
    lastTick: iso(schedule.lastTick),
    lastInvocation: lastInvocation === undefined ? undefined : { id: lastInvocation, state: record?.state },
  };
}

const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
