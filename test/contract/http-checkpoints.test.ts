/** The HTTP contract of checkpoints' tags and metrics, and what is collected of those that are not complete. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { checkpointManifestKey, checkpointPrefix, removingKey } from "../../core/checkpoint.ts";
import { metricsKey } from "../../core/checkpoint-metrics.ts";
import { manualClock } from "../../core/clock.ts";
import { collectCheckpoints } from "../../gateway/collect-checkpoints.ts";
import { lines, startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

const get = async (path: string): Promise<any> => (await gateway.request(`/v1/checkpoints/${path}`)).json();
const codeOf = async (reply: Promise<Response>) => ((await (await reply).json()) as any).error?.code;
const send = (method: string, path: string, body?: unknown) =>
  gateway.request(`/v1/checkpoints/${path}`, { method, ...(body ? { body: JSON.stringify(body) } : {}) });

async function saved(series: string, step: number, more: object = {}): Promise<void> {
  const { objects } = gateway.deps;
  await objects.put(`${checkpointPrefix(series, step)}w`, "0123456789");
  const files = [{ path: "w", size: 10, sha256: "d".repeat(64) }];
  const manifest = { series, step, invocation: "inv_x", metrics: { loss: 1 / (step + 1) }, files, ...more };
  await objects.put(checkpointManifestKey(series, step), JSON.stringify(manifest));
}

it("a tag is set, found in place of a step, moved, listed and taken away", async () => {
  for (const step of [1, 2, 3]) await saved("tagged", step);
  expect(await (await send("PUT", "tagged/tags/production", { step: 2 })).json()).toMatchObject({
    ...{ series: "tagged", name: "production", step: 2 },
  });
  expect(await get("tagged/production")).toMatchObject({ step: 2 });
  expect(await (await gateway.request("/v1/checkpoints/tagged/production/files/w")).text()).toBe("0123456789");
  expect(await (await send("PUT", "tagged/tags/production", { step: 3 })).json()).toMatchObject({ previous: 2 });
  expect((await get("tagged/tags")).tags).toMatchObject([{ name: "production", step: 3, previous: 2 }]);
  expect((await get("tagged")).tags).toMatchObject([{ name: "production", step: 3 }]);
  expect(await get("tagged/tags/production")).toMatchObject({ series: "tagged", step: 3 });
  expect(await get("")).toMatchObject({ error: { code: "route_not_found" } });
  expect((await send("DELETE", "tagged/tags/production")).status).toBe(200);
  expect(await codeOf(send("GET", "tagged/production"))).toBe("checkpoint_not_found");
  expect(await codeOf(send("GET", "tagged/tags/production"))).toBe("checkpoint_not_found");
  expect((await get("tagged")).checkpoints).toHaveLength(3);
});

it("only one of many who move a tag from the same place wins", async () => {
  await Promise.all([1, 2, 3, 4].map((step) => saved("raced", step)));
  const first = await Promise.all([1, 2, 3, 4].map((step) => send("PUT", "raced/tags/live", { step, from: null })));
  expect(first.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
  const { step } = await get("raced/tags/live");
  expect(await codeOf(send("PUT", "raced/tags/live", { step: 1, from: step === 4 ? 3 : 4 }))).toBe(
    "checkpoint_tag_moved",
  );
  expect((await get("raced/tags/live")).step).toBe(step);
});

it("what a tag points at is not removed, and what is being removed gets no tag", async () => {
  await saved("held", 1);
  await saved("held", 2);
  await send("PUT", "held/tags/live", { step: 1 });
  expect(await codeOf(send("DELETE", "held/1"))).toBe("checkpoint_tagged");
  expect(await get("held/1")).toMatchObject({ step: 1 });
  await gateway.deps.objects.put(removingKey("held", 2), "");
  expect(await codeOf(send("PUT", "held/tags/live", { step: 2 }))).toBe("checkpoint_not_found");
  expect((await get("held/tags/live")).step).toBe(1);
  await send("DELETE", "held/tags/live");
  expect((await send("DELETE", "held/1")).status).toBe(200);
  expect(await codeOf(send("GET", "held/1"))).toBe("checkpoint_not_found");
});

it("a tag that cannot be is refused, and leaves nothing", async () => {
  await saved("odd", 1);
  for (const name of ["latest", "best", "12", "a.b", "tags", "-x"])
    expect(await codeOf(send("PUT", `odd/tags/${name}`, { step: 1 }))).toBe("invalid_name");
  expect(await codeOf(send("PUT", "odd/tags/live", { step: 7 }))).toBe("checkpoint_not_found");
  for (const body of [{}, { step: -1 }, { step: "1" }, { step: 1, form: 2 }])
    expect(await codeOf(send("PUT", "odd/tags/live", body))).toBe("bad_request");
  expect((await get("odd/tags")).tags).toEqual([]);
  expect(await codeOf(send("GET", "odd/a.b"))).toBe("invalid_name");
});

it("'best' is the best by the score that its own series keeps", async () => {
  const keep = { numToKeep: 2, attribute: "loss", order: "min" };
  for (const step of [1, 3, 2]) await saved("scored", step, { keep });
  expect(await get("scored/best")).toMatchObject({ step: 3 });
  expect(await get("scored/latest")).toMatchObject({ step: 3 });
  await saved("plain", 1);
  expect(await codeOf(send("GET", "plain/best"))).toBe("bad_request");
});

it("every row of metrics is sent, a line each, in the order of the parts", async () => {
  const { objects } = gateway.deps;
  const part = (number: number) => metricsKey("curve", { number, invocation: "inv_x", generation: 1, ofRanks: false });
  const row = (step: number) => ({ step, metrics: { loss: 1 / (step + 1) }, checkpoint: false });
  await objects.put(part(1), `${JSON.stringify(row(2))}\n`);
  await objects.put(part(0), `${JSON.stringify(row(0))}\n${JSON.stringify(row(1))}\n`);
  const reply = await gateway.request("/v1/checkpoints/curve/metrics");
  expect(reply.headers.get("content-type")).toBe("application/x-ndjson");
  expect(lines(await reply.text())).toEqual([row(0), row(1), row(2)]);
  expect(await codeOf(send("GET", "curve/metrics?rank=1"))).toBe("checkpoint_not_found");
  const ofRanks = { ...row(0), rank: 1, metrics: { loss: 9 } };
  const ranks = { number: 0, invocation: "inv_x", generation: 1, ofRanks: true };
  await objects.put(
    metricsKey("curve", ranks),
    `${JSON.stringify(ofRanks)}\n${JSON.stringify({ ...ofRanks, rank: 2 })}\n`,
  );
  expect(lines(await (await gateway.request("/v1/checkpoints/curve/metrics")).text())).toHaveLength(3);
  const of = async (rank: string) =>
    lines(await (await gateway.request(`/v1/checkpoints/curve/metrics?rank=${rank}`)).text());
  expect(await of("1")).toEqual([ofRanks]);
  expect((await of("0")).map(({ rank, step }: any) => [rank, step])).toEqual([0, 1, 2].map((step) => [0, step]));
  expect((await of("all")).map(({ rank }: any) => rank)).toEqual([0, 0, 0, 1, 2]);
  expect(await codeOf(send("GET", "curve/metrics?rank=-1"))).toBe("bad_request");
  expect(await codeOf(send("GET", "none/metrics"))).toBe("checkpoint_not_found");
  expect(await codeOf(send("GET", "a.b/metrics"))).toBe("invalid_name");
});

it("what is not complete after a day is collected, and nothing else", async () => {
  const { objects } = gateway.deps;
  await saved("young", 1);
  await saved("young", 2);
  await saved("young", 3);
  await send("PUT", "young/tags/live", { step: 3 });
  await objects.put(`${checkpointPrefix("young", 4)}half`, "x");
  for (const step of [2, 3]) await objects.put(removingKey("young", step), "");
  const all = async () => {
    const keys: string[] = [];
    for await (const entry of objects.list("checkpoints/young/")) if (entry.kind === "object") keys.push(entry.key);
    return keys.length;
  };
  const before = await all();
  expect(await collectCheckpoints({ objects, clock: manualClock(Date.now()) })).toBe(0);
  expect(await all()).toBe(before);
  expect(await collectCheckpoints({ objects, clock: manualClock(Date.now() + 2 * 86_400_000) })).toBeGreaterThan(1);
  expect((await get("young")).checkpoints.map(({ step }: any) => step)).toEqual([1, 3]);
  expect(await objects.head(`${checkpointPrefix("young", 4)}half`)).toBeUndefined();
  expect((await get("young/tags")).tags).toMatchObject([{ name: "live", step: 3 }]);
});
