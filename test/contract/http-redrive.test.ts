/** Redriving over HTTP: the stored input goes to the current version, or the reply says why it cannot. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FabricError } from "../../core/errors.ts";
import { inputKey } from "../../core/invocation.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
let stopServing: () => Promise<void>;
const parameters = [{ name: "a", kind: "normal", required: true }];

beforeAll(async () => {
  gateway = await startGateway();
  await gateway.deploy("app", [functionSpec("f", { parameters })]);
  const error = new FabricError("exception", "no").toBody();
  stopServing = await gateway.serve("app/f", () => ({ state: "failed", error }));
});
afterAll(async () => {
  await stopServing?.();
  await gateway?.close();
});

async function failed(body: string, headers: Record<string, string> = {}): Promise<string> {
  const reply = await gateway.request("/v1/apps/app/functions/f/invocations", { method: "POST", body, headers });
  const { id, state } = (await reply.json()) as any;
  expect(state).toBe("failed");
  return id;
}
async function redrive(id: string): Promise<{ status: number; body: any }> {
  const reply = await gateway.request(`/v1/invocations/${id}/redrive`, { method: "POST" });
  return { status: reply.status, body: await reply.json() };
}
const record = (id: string) => gateway.deps.state.invocations.get(id);
const input = async (id: string) => (await record(id))?.input?.toString();

test("takes the input as it was stored, JSON and pickles, to the current version", async () => {
  const json = await failed('{"a":12345678901234567890}');
  const pickle = await failed("not opened here", {
    ...{ "content-type": "application/vnd.fabric.pickle", "fabric-python": "3.11", "fabric-accept": "pickle" },
  });
  await gateway.deploy("app", [functionSpec("f", { parameters, timeout: 7 })]);
  for (const id of [json, pickle]) {
    const { status, body } = await redrive(id);
    expect({ status, body }).toMatchObject({ status: 202, body: { redrivenFrom: id, created: true } });
    const [before, after] = [await record(id), await record(body.id)];
    expect(after).toMatchObject({ version: "2", timeoutMs: 7_000, redrivenFrom: id });
    expect(after).toMatchObject({ encoding: before!.encoding, acceptPickle: before!.acceptPickle });
    expect(await input(body.id)).toBe(await input(id));
    expect(await redrive(id)).toMatchObject({ status: 202, body: { id: body.id, created: false } });
  }
});

test("copies a large input, so that neither needs the other's", async () => {
  const id = await failed(JSON.stringify({ a: "x".repeat(20_000) }));
  const { body } = await redrive(id);
  await gateway.deps.objects.delete(inputKey(id));
  expect(await gateway.deps.objects.get(inputKey(body.id))).toMatchObject({ length: expect.any(Number) });
});

test("says when the input is gone", async () => {
  const id = await failed(JSON.stringify({ a: "y".repeat(20_000) }));
  await gateway.deps.objects.delete(inputKey(id));
  expect(await redrive(id)).toMatchObject({ status: 410, body: { error: { code: "input_gone" } } });
  expect((await record(id))?.redrivenAs).toBeUndefined();
});

test("refuses what does not fit the current version, and what is not over", async () => {
  const id = await failed('{"a":1}');
  await gateway.deploy("app", [functionSpec("f", { parameters: [], retries: 1 }), functionSpec("g")]);
  expect(await redrive(id)).toMatchObject({ status: 422, body: { error: { code: "invalid_arguments" } } });
  const waiting = await gateway.request("/v1/apps/app/functions/g/invocations", {
    ...{ method: "POST", headers: { prefer: "respond-async", "fabric-delay": "60" } },
  });
  const { id: open } = (await waiting.json()) as any;
  expect(await redrive(open)).toMatchObject({ status: 409, body: { error: { code: "invocation_not_failed" } } });
  await gateway.request(`/v1/invocations/${open}/cancel`, { method: "POST" });
  expect(await redrive(open)).toMatchObject({ status: 202 });
  await gateway.request("/v1/apps/app", { method: "DELETE" });
  await until(async () => (await redrive(id)).body.error?.code === "app_not_found", 10_000, "the app is gone");
});
