/** Logs over HTTP: filters, positions, events, and one log made of the bucket's archive and what Redis still holds. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import type { LogLine } from "../../core/state-store.ts";
import { archiveOnce } from "../../gateway/archive-logs.ts";
import { removeOldDays } from "../../gateway/log-archive.ts";
import { sweepOnce } from "../../gateway/sweep.ts";
import { functionSpec, lines, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
let redis: Redis;
beforeAll(async () => {
  gateway = await startGateway();
  redis = new Redis(gateway.redisUrl);
});
afterAll(async () => {
  redis.disconnect();
  await gateway.close();
});

const line = (text: string, more: Partial<LogLine> = {}): LogLine => ({
  ...{ at: Date.now(), fn: "f", container: "con_1", source: "stdout", text },
  ...more,
});
const ask = async (app: string, query = ""): Promise<(LogLine & { seq: string })[]> => {
  const reply = await gateway.request(`/v1/apps/${app}/logs${query}`);
  expect(reply.status).toBe(200);
  return lines(await reply.text());
};
const texts = async (app: string, query = "") => (await ask(app, query)).map(({ text }) => text);
const archive = (owner = "gwy_1") => archiveOnce({ ...gateway.deps, owner, limits: { ageMs: 0, retentionDays: 0 } });
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `n${from + i}`);

async function append(app: string, from: number, to: number): Promise<void> {
  for (let at = from; at <= to; at += 1_000)
    await gateway.deps.state.logs.append(
      app,
      numbers(at, Math.min(to, at + 999)).map((text) => line(text)),
    );
}

async function keys(app: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of gateway.deps.objects.list(`logs/${app}/`))
    if (entry.kind === "object") found.push(entry.key);
  return found;
}

test("filters by function, source, text and time", async () => {
  const { logs } = gateway.deps.state;
  const old = Date.now() - 3_600_000;
  await logs.append("filter", [
    line("first", { at: old }),
    line("loss 0.5", { fn: "g" }),
    line("loss 0.1", { source: "stderr" }),
    line("a.b", { source: "system" }),
  ]);
  expect(await texts("filter", "?function=g")).toEqual(["loss 0.5"]);
  expect(await texts("filter", "?source=stderr")).toEqual(["loss 0.1"]);
  expect(await texts("filter", "?grep=loss")).toEqual(["loss 0.5", "loss 0.1"]);
  expect(await texts("filter", "?grep=a%5C.b")).toEqual([]);
  expect(await texts("filter", "?since=10m&tail=2")).toEqual(["loss 0.1", "a.b"]);
  expect(await texts("filter", "?until=10m")).toEqual(["first"]);
  expect(await texts("filter", `?since=${new Date(old - 1).toISOString()}&until=30m`)).toEqual(["first"]);
});

test.each(["since=yesterday", "until=1", "after=x", "source=tty", "tail=-1", "tail=x", `grep=${"x".repeat(2_000)}`])(
  "refuses %s by name",
  async (query) => {
    const reply = await gateway.request(`/v1/apps/filter/logs?${query}`);
    expect(reply.status).toBe(400);
    const { error } = (await reply.json()) as { error: { code: string; message: string } };
    expect(error.code).toBe("bad_request");
    expect(error.message).toContain(query.split("=")[0]);
  },
);

test("goes on behind a position, as lines and as events", async () => {
  await append("place", 1, 5);
  const all = await ask("place");
  expect(await texts("place", `?after=${all[2]!.seq}`)).toEqual(["n4", "n5"]);
  const reply = await gateway.request("/v1/apps/place/logs", {
    headers: { accept: "text/event-stream", "last-event-id": all[3]!.seq },
  });
  expect(reply.headers.get("content-type")).toBe("text/event-stream");
  const text = await reply.text();
  expect(text).toMatch(new RegExp(`^id: ${all[4]!.seq}\ndata: {.*"n5".*}\n\n$`));
});

test("a node that is lost leaves a record where its last lines would be", async () => {
  await gateway.deploy("lost", [functionSpec("f")]);
  const path = "/v1/apps/lost/functions/f/invocations";
  const reply = await gateway.request(path, { method: "POST", headers: { prefer: "respond-async" } });
  const { id } = (await reply.json()) as { id: string };
  const { state } = gateway.deps;
  await state.invocations.claim({ id, generation: 1 }, { runner: "run_1", node: "nod_1", leaseMs: 1 });
  await state.invocations.note({ id, generation: 1 }, { container: "con_7" });
  const limits = { outboxAgeMs: 60_000, queuedAgeMs: 60_000, leaseMs: 300, mapIdleMs: 60_000, max: 10 };
  const isQueuedAgain = async (): Promise<boolean> => {
    await sweepOnce({ ...gateway.deps, limits });
    return (await state.invocations.get(id))!.generation === 2;
  };
  await until(isQueuedAgain, 5_000, "it is queued again");
  const [gap] = lines(await (await gateway.request(`/v1/invocations/${id}/logs`)).text());
  expect(gap).toMatchObject({ container: "con_7", fn: "f", gap: {}, reason: expect.stringContaining("node") });
});

describe("the archive", () => {
  it("takes closed segments once, whoever archives, and reads as one log with what Redis holds", async () => {
    await append("whole", 1, 12_500);
    expect((await Promise.all([archive("gwy_1"), archive("gwy_2")])).reduce((a, b) => a + b)).toBeGreaterThan(1);
    while ((await gateway.deps.state.logs.due({ ageMs: 0, lines: 1 })).includes("whole")) await archive();
    expect(await keys("whole")).toHaveLength(3);
    expect((await keys("whole"))[0]).toMatch(
      /^logs\/whole\/\d{4}-\d\d-\d\d\/\d{13}-000000000001-000000005000\.ndjson\.gz$/,
    );
    expect(await redis.xlen("t:log:whole")).toBeLessThan(6_000);
    await append("whole", 12_501, 12_600);
    expect(await texts("whole")).toEqual(numbers(1, 12_600));
    expect(await texts("whole", "?since=3d")).toEqual(numbers(1, 12_600));
    expect(await texts("whole", "?tail=9000")).toEqual(numbers(3_601, 12_600));
    expect(await texts("whole", "?tail=20&grep=n77")).toEqual((await texts("whole", "?grep=n77")).slice(-20));
    const [first] = await ask("whole", "?tail=1&grep=n1000");
    expect((await ask("whole", `?after=${first!.seq}`))[0]!.seq).not.toBe(first!.seq);
  });

  it("has a segment that was written but not noted taken over with the same bounds", async () => {
    await append("taken", 1, 10);
    const { logs } = gateway.deps.state;
    const limits = { leaseMs: 60, lines: 5_000 };
    const segment = await logs.takeSegment("taken", "gwy_dead", limits);
    await append("taken", 11, 20);
    expect(await logs.takeSegment("taken", "gwy_2", limits)).toBeUndefined();
    await expect.poll(() => logs.takeSegment("taken", "gwy_2", limits), { timeout: 5_000 }).toEqual(segment);
    expect(segment!.last.endsWith("-10")).toBe(true);
    await logs.archived("taken", segment!.last);
    await logs.archived("taken", segment!.last);
    expect((await logs.takeSegment("taken", "gwy_2", limits))!.first.endsWith("-11")).toBe(true);
  });

  it("says where lines were trimmed before they were archived, and where Redis was emptied", async () => {
    await append("gappy", 1, 100);
    await redis.xtrim("t:log:gappy", "MAXLEN", 60);
    await archive();
    await redis.del("t:log:gappy", "t:logfacts:gappy");
    await append("gappy", 101, 110);
    const all = await ask("gappy");
    const gaps = all.filter(({ gap }) => gap);
    expect(gaps).toMatchObject([
      { gap: { lines: 40 }, source: "system" },
      { gap: {}, reason: expect.stringContaining("emptied") },
    ]);
    expect(all[0]).toBe(all.find(({ gap }) => gap?.lines === 40));
    expect(all.filter(({ gap }) => !gap).map(({ text }) => text)).toEqual([...numbers(41, 100), ...numbers(101, 110)]);
    expect((await ask("gappy", "?function=other")).map(({ gap }) => gap !== undefined)).toEqual([true, true]);
    expect((await ask("gappy", "?tail=20")).filter(({ gap }) => gap)).toHaveLength(1);
  });

  it("is read without Redis, and goes day by day when its time is over", async () => {
    await append("old", 1, 3);
    await archive();
    await redis.del("t:log:old", "t:logfacts:old");
    expect(await texts("old")).toEqual(["n1", "n2", "n3"]);
    expect(await texts("old", "?tail=2")).toEqual(["n2", "n3"]);
    expect(await removeOldDays(gateway.deps.objects, 2, Date.now())).toBe(0);
    expect(await removeOldDays(gateway.deps.objects, 2, Date.now() + 4 * 86_400_000)).toBeGreaterThan(0);
    expect(await texts("old")).toEqual([]);
  });

  it("bounds what an app may hold in Redis, in lines and in bytes", async () => {
    await append("much", 1, 25_000);
    expect(await redis.xlen("t:log:much")).toBeLessThan(21_000);
    const long = "x".repeat(16_000);
    for (let i = 0; i < 6; i++)
      await gateway.deps.state.logs.append(
        "heavy",
        Array.from({ length: 500 }, () => line(long)),
      );
    expect(await redis.memory("USAGE", "t:log:heavy", "SAMPLES", 0)).toBeLessThan(45 * 1024 * 1024);
  });
});
