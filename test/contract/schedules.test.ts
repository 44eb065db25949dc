/** Schedules over HTTP: they follow the current version, pause, resume, and outlive a Redis that lost everything. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { InvocationRecord } from "../../core/invocation.ts";
import { keepUp, makeTicks } from "../../gateway/make-ticks.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway;
let app: string;
let count = 0;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());
beforeEach(() => {
  app = `app${count++}`;
});

const HOUR = 3_600_000;
const hourly = (more: object = {}) => ({ schedule: { kind: "cron", cron: "0 * * * *", ...more } });
const period = (hours: number) => ({ schedule: { kind: "period", hours } });
const deploy = (more: object, name = "f") => gateway.deploy(app, [functionSpec(name, { parameters: [], ...more })]);
const listed = async (): Promise<any[]> => {
  const { schedules } = (await (await gateway.request("/v1/schedules")).json()) as { schedules: any[] };
  return schedules.filter((schedule) => schedule.app === app);
};
const post = async (verb: string, fn = "f"): Promise<{ status: number; body: any }> => {
  const reply = await gateway.request(`/v1/schedules/${app}/${fn}/${verb}`, { method: "POST" });
  return { status: reply.status, body: await reply.json() };
};
const calls = (): Promise<InvocationRecord[]> => gateway.deps.state.invocations.list({ app, limit: 100 });
const state = async () => (await gateway.deps.state.schedules.get(`${app}/f`))!;
const nextHour = (): number => Math.ceil((Date.now() + 1) / HOUR) * HOUR;

/** The next tick becomes another one, as if time had passed. */
const makeDue = async (tick: number): Promise<void> => {
  const { nextTick } = await state();
  expect(await gateway.deps.state.schedules.take(`${app}/f`, nextTick!, { next: tick })).toBe(true);
};
const pass = async (): Promise<void> => {
  const { unsaved } = await makeTicks(gateway.deps);
  await keepUp(gateway.deps, unsaved);
};
/** A pass to which every tick that was taken counts as left behind. */
const impatiently = async (): Promise<unknown> => {
  const { schedules } = gateway.deps.state;
  const find: typeof schedules.find = ({ max }) => schedules.find({ ageMs: -1, max });
  return makeTicks({ ...gateway.deps, state: { ...gateway.deps.state, schedules: { ...schedules, find } } });
};
const flushAll = async (): Promise<void> => {
  const redis = new Redis(gateway.redisUrl);
  await redis.flushall();
  redis.disconnect();
};

describe("versions", () => {
  it("a schedule is there after the deploy, and says when it runs next", async () => {
    await deploy(hourly({ timezone: "Europe/Berlin" }));
    expect(await listed()).toEqual([
      {
        app,
        function: "f",
        version: "1",
        schedule: "0 * * * * Europe/Berlin",
        onMissed: "run_once",
        paused: false,
        nextTick: new Date(nextHour()).toISOString(),
      },
    ]);
  });

  it("follows deploys, rollbacks and the app's end", async () => {
    await deploy(hourly());
    await deploy({});
    expect(await listed()).toEqual([]);
    await gateway.request(`/v1/apps/${app}/rollback`, { method: "POST" });
    expect(await listed()).toMatchObject([{ version: "1" }]);
    await deploy({ ...hourly(), timeout: 9 });
    expect(await listed()).toMatchObject([{ version: "3" }]);
    await gateway.request(`/v1/apps/${app}`, { method: "DELETE" });
    expect(await listed()).toEqual([]);
    expect(await gateway.deps.objects.deletePrefix(`schedules/${app}/`)).toBe(0);
  });

  it("a period goes on where it was when its function is deployed again", async () => {
    await deploy(period(5));
    const before = await state();
    await deploy({ ...period(5), timeout: 9 });
    expect(await state()).toEqual({ ...before, version: "2" });
    await deploy(period(6));
    expect((await state()).anchor).toBeGreaterThan(before.anchor);
  });

  it("refuses a schedule that cannot be, and a function that needs arguments", async () => {
    const parameters = [{ name: "day", kind: "normal", required: true }];
    await expect(deploy({ ...hourly(), parameters })).resolves.toMatchObject({
      error: { code: "bad_request", message: expect.stringContaining("needs 'day'") },
    });
    await expect(deploy(hourly({ timezone: "Mars/Crater" }))).resolves.toMatchObject({
      error: { code: "bad_request", message: expect.stringContaining("no time zone") },
    });
    expect((await gateway.request(`/v1/apps/${app}`)).status).toBe(404);
  });
});

describe("ticks", () => {
  it("one call for a tick, whoever looks, which says what made it", async () => {
    await deploy(hourly());
    const tick = Date.now() - 1_000;
    await makeDue(tick);
    await Promise.all([pass(), pass(), pass()]);
    const [call, ...more] = await calls();
    expect(more).toEqual([]);
    const shown = await (await gateway.request(`/v1/invocations/${call!.id}`)).json();
    expect(shown).toMatchObject({ trigger: "schedule", tick: new Date(tick).toISOString(), version: "1" });
    expect(await listed()).toMatchObject([
      { lastTick: new Date(tick).toISOString(), lastInvocation: { id: call!.id, state: "queued" } },
    ]);
    expect((await state()).nextTick).toBe(nextHour());
  });

  it("a tick that was taken by a gateway that died is made by another one, once", async () => {
    await deploy(hourly());
    const { key, nextTick } = await state();
    const { schedules } = gateway.deps.state;
    await schedules.take(key, nextTick!, { make: nextTick, next: nextTick! + HOUR });
    const left = async () => (await schedules.find({ ageMs: -1, max: 10 })).taken;
    expect(await left()).toEqual([{ key, tick: nextTick }]);
    await Promise.all([impatiently(), impatiently(), impatiently()]);
    expect(await calls()).toMatchObject([{ tick: nextTick }]);
    expect(await left()).toEqual([]);
  });

  it.each([
    ["run_once", 1],
    ["skip", 0],
  ])("after an outage over several ticks: %s", async (on_missed, made) => {
    await deploy({ schedule: { kind: "cron", cron: "0 0 * * *", on_missed } });
    const midnight = Math.floor(Date.now() / (24 * HOUR)) * 24 * HOUR;
    await makeDue(midnight - 72 * HOUR);
    await pass();
    expect((await calls()).map(({ tick }) => tick)).toEqual(made === 1 ? [midnight] : []);
    expect((await state()).nextTick).toBe(midnight + 24 * HOUR);
  });

  it("a lost next tick is put back", async () => {
    await deploy(hourly());
    const { key, nextTick } = await state();
    await gateway.deps.state.schedules.take(key, nextTick!, {});
    expect((await state()).nextTick).toBeUndefined();
    await flushLook();
    await pass();
    expect((await state()).nextTick).toBe(nextHour());
  });

  it("nothing is made of a tick whose schedule is gone", async () => {
    await deploy(hourly());
    const { key, nextTick } = await state();
    await gateway.deps.state.schedules.take(key, nextTick!, { make: nextTick });
    await deploy({});
    await impatiently();
    expect(await calls()).toEqual([]);
  });
});

/** What keeps gateways from all looking at the bucket at the same time. */
const flushLook = async (): Promise<void> => {
  const redis = new Redis(gateway.redisUrl);
  await redis.del("t:schedules:looked");
  redis.disconnect();
};

describe("people", () => {
  it("pause, resume from the next tick on, and run in between", async () => {
    await deploy(hourly());
    expect((await post("pause")).body).toMatchObject({ paused: true });
    expect((await state()).nextTick).toBeUndefined();
    const { status, body } = await post("trigger");
    expect(status).toBe(202);
    expect(await calls()).toMatchObject([{ id: body.id, trigger: "schedule" }]);
    expect((await calls())[0]?.tick).toBeUndefined();
    await flushLook();
    await pass();
    expect((await state()).nextTick).toBeUndefined();
    expect((await post("resume")).body).toMatchObject({
      paused: false,
      nextTick: new Date(nextHour()).toISOString(),
    });
    expect(await post("resume")).toMatchObject({ status: 200, body: { paused: false } });
  });

  it("are told when there is no such schedule", async () => {
    await deploy({});
    for (const verb of ["pause", "resume", "trigger"])
      expect(await post(verb)).toMatchObject({ status: 404, body: { error: { code: "schedule_not_found" } } });
    expect(await post("pause", "no%20name")).toMatchObject({ status: 400, body: { error: { code: "invalid_name" } } });
  });
});

describe("after Redis lost everything", () => {
  it("schedules come back with their last tick and their pause", async () => {
    await deploy(period(5));
    const tick = Date.now() - 1_000;
    await makeDue(tick);
    await pass();
    const before = await state();
    expect(before.lastTick).toBe(tick);
    await flushAll();
    await pass();
    expect(await state()).toMatchObject({ anchor: before.anchor, since: before.since, lastTick: tick, version: "1" });
    expect((await state()).nextTick).toBe(before.anchor + 5 * HOUR);
    await pass();
    expect(await calls()).toEqual([]);

    await post("pause");
    await flushAll();
    await pass();
    expect(await listed()).toMatchObject([{ paused: true }]);
    expect((await state()).nextTick).toBeUndefined();
    await post("resume");
    await flushAll();
    await pass();
    expect(await listed()).toMatchObject([{ paused: false }]);
    expect((await state()).since).toBeGreaterThanOrEqual(before.since);
  });

  it("ticks missed meanwhile count as missed", async () => {
    await deploy(hourly());
    const { key, ...memory } = await state();
    const old = { ...memory, since: Date.now() - 48 * HOUR };
    const { schedule, anchor, since } = old;
    await gateway.deps.objects.put(`schedules/${key}/state.json`, JSON.stringify({ schedule, anchor, since }));
    await flushAll();
    await pass();
    await pass();
    expect(await calls()).toMatchObject([{ tick: nextHour() - HOUR }]);
  });
});
