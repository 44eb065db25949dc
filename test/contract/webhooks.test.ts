/** Webhooks from the call to the receiver: signed, repeated, seen on the invocation, by one gateway at a time. */
import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../../core/ids.ts";
import type { InvocationRecord, Outcome } from "../../core/invocation.ts";
import { addressGuard } from "../../gateway/webhooks/address-guard.ts";
import { deliver, keepDelivering } from "../../gateway/webhooks/deliver.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";
import { connectState } from "../support/state.ts";

let gateway: TestGateway;
let receiver: Server;
let url: string;
const received: { headers: IncomingHttpHeaders; body: string }[] = [];
let answer = 200;
const stops: (() => Promise<void>)[] = [];

const json = (text: string): Outcome => ({
  state: "succeeded",
  result: { encoding: "json", size: text.length, inline: Buffer.from(text) },
});

beforeAll(async () => {
  gateway = await startGateway();
  receiver = createServer(async (request, reply) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    received.push({ headers: request.headers, body });
    reply.writeHead(answer).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook?secret=1`;
  await gateway.deploy("a", [functionSpec("f"), functionSpec("hooked", { webhook: url }), functionSpec("waits")]);
  const { objects } = gateway.deps;
  await objects.put("large", "[1]");
  const outcomes: Record<string, (record: InvocationRecord) => Outcome> = {
    f: ({ input }) => {
      const given = JSON.parse(input!.toString()).kwargs;
      if (given.large) return { state: "succeeded", result: { encoding: "json", size: 70_000, key: "large" } };
      if (given.broken) return json('1,"state":"failed"');
      if (given.fails)
        return { state: "failed", error: { code: "exception", message: "no", retryable: false, fault: "user" } };
      return json("12345678901234567890");
    },
    hooked: () => json('"ok"'),
  };
  for (const [name, outcome] of Object.entries(outcomes)) stops.push(await gateway.serve(`a/${name}`, outcome));
  // Three gateways.
  for (let i = 0; i < 3; i++)
    stops.push(await keepDelivering({ ...gateway.deps, isAllowed: addressGuard("127.0.0.0/8") }));
});
afterAll(async () => {
  for (const stop of stops) await stop();
  receiver.close();
  await gateway.close();
});
beforeEach(() => {
  received.length = 0;
  answer = 200;
});

const call = async (fn: string, body: object, webhook?: string, more: Record<string, string> = {}): Promise<any> => {
  const headers = { "content-type": "application/json", ...(webhook ? { "fabric-webhook": webhook } : {}), ...more };
  const path = `/v1/apps/a/functions/${fn}/invocations`;
  return (await gateway.request(path, { method: "POST", body: JSON.stringify(body), headers })).json();
};
const shown = async (id: string): Promise<any> => (await gateway.request(`/v1/invocations/${id}`)).json();
const settled = (id: string, state: string): Promise<any> =>
  until(
    async () => {
      const { webhook } = await shown(id);
      return webhook?.state === state ? webhook : undefined;
    },
    10_000,
    `its webhook is ${state}`,
  );

describe("what is sent", () => {
  it("once, signed, with the result as the function wrote it", async () => {
    const { id } = await call("f", {}, url);
    expect(await settled(id, "delivered")).toEqual({
      url: url.split("?")[0],
      state: "delivered",
      attempts: 1,
      status: 200,
      endedAt: expect.any(String),
    });
    expect(received).toHaveLength(1);
    const { headers, body } = received[0]!;
    expect(body).toContain('"result":12345678901234567890}');
    expect(JSON.parse(body)).toMatchObject({
      id,
      app: "a",
      function: "f",
      version: "1",
      state: "succeeded",
      finishedAt: expect.any(String),
      timings: { run: expect.any(Number) },
    });
    const { secret } = (await (await gateway.request("/v1/webhooks/secret")).json()) as { secret: string };
    const key = Buffer.from(secret.replace("whsec_", ""), "base64");
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const signature = createHmac("sha256", key).update(signed).digest("base64");
    expect(headers).toMatchObject({ "webhook-id": id, "webhook-signature": `v1,${signature}` });
  });

  it("to the function's own URL, unless the call names another", async () => {
    const { id } = await call("hooked", {});
    await settled(id, "delivered");
    expect(JSON.parse(received[0]!.body)).toMatchObject({ id, result: "ok" });
    const other = await call("hooked", {}, url.replace("hook?", "other?"));
    expect((await settled(other.id, "delivered")).url).toContain("/other");
  });

  it("a URL of a large result, which opens without a token", async () => {
    const { id } = await call("f", { large: true }, url);
    await settled(id, "delivered");
    const told = JSON.parse(received[0]!.body);
    expect(told).toMatchObject({ resultEncoding: "json", resultBytes: 70_000 });
    expect(await (await fetch(told.resultUrl)).json()).toEqual([1]);
  });

  it("errors, cancels, and no result that is no JSON", async () => {
    const failed = await call("f", { fails: true }, url);
    await settled(failed.id, "delivered");
    expect(JSON.parse(received.pop()!.body)).toMatchObject({
      state: "failed",
      error: { code: "exception", message: "no" },
    });

    const waits = await call("waits", {}, url, { prefer: "respond-async" });
    expect((await shown(waits.id)).webhook).toMatchObject({ state: "waiting", attempts: 0 });
    await gateway.request(`/v1/invocations/${waits.id}/cancel`, { method: "POST" });
    await settled(waits.id, "delivered");
    expect(JSON.parse(received.pop()!.body)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });

    const broken = await call("f", { broken: true }, url);
    await settled(broken.id, "delivered");
    expect(JSON.parse(received.pop()!.body)).toMatchObject({ state: "succeeded", resultBytes: 18 });
  });
});

describe("what goes wrong", () => {
  it("is repeated with the same id, and says when", async () => {
    answer = 503;
    const { id } = await call("f", {}, url);
    const pending = await settled(id, "pending").then(() =>
      until(
        async () => ((await shown(id)).webhook.attempts > 0 ? (await shown(id)).webhook : undefined),
        5_000,
        "tried",
      ),
    );
    expect(pending).toMatchObject({ state: "pending", attempts: 1, status: 503 });
    expect(Date.parse(pending.nextAt) - Date.now()).toBeGreaterThan(2_000);
    answer = 200;
    expect(await settled(id, "delivered")).toMatchObject({ attempts: 2 });
    expect(received.map(({ headers }) => headers["webhook-id"])).toEqual([id, id]);
  });

  it("is not tried again where the receiver is gone for good", async () => {
    answer = 410;
    const { id } = await call("f", {}, url);
    expect(await settled(id, "failed")).toMatchObject({ attempts: 1, status: 410 });
  });

  it("a lease that has ended changes nothing", async () => {
    const { webhooks } = gateway.deps.state;
    const { id } = await call("f", {}, url);
    await settled(id, "delivered");
    expect(await webhooks.settle({ id, lease: 1 }, { state: "failed", attempts: 9 })).toBe(false);
    await deliver({ ...gateway.deps, isAllowed: () => false }, { id, lease: 1 });
    expect(await shown(id)).toMatchObject({ webhook: { state: "delivered" } });
  });

  it("a URL of another form is refused with the call, and nothing is queued", async () => {
    for (const wrong of ["ftp://a/", "nonsense", "http://u:p@a/"])
      expect(await call("f", {}, wrong)).toMatchObject({
        error: { code: "bad_request", message: expect.stringMatching(/^fabric-webhook is .*http or https URL/) },
      });
    expect((await gateway.deploy("b", [functionSpec("f", { webhook: "ftp://a" })])).error.code).toBe("bad_request");
  });
});

describe("the outbox", () => {
  it("gives a webhook to one gateway, and to another one when that died; its record waits as long", async () => {
    const state = await connectState({ url: gateway.redisUrl, prefix: "outbox", recordTtlSeconds: 1 });
    stops.push(() => state.close());
    const call = {
      app: "a",
      fn: "f",
      version: "1",
      encoding: "json",
      acceptPickle: false,
      timeoutMs: 1,
      retries: 0,
    } as const;
    const { id } = await state.invocations.accept({ ...call, id: newId("inv"), webhook: url });
    expect((await state.webhooks.take(10, 10)).taken).toEqual([]);
    await state.invocations.cancel(id);
    const taken = await Promise.all([1, 2, 3].map(() => state.webhooks.take(200, 10)));
    const [first, ...more] = taken.flatMap((one) => one.taken);
    expect([first?.id, more]).toEqual([id, []]);
    const again = await until(async () => (await state.webhooks.take(60_000, 10)).taken[0], 5_000, "the lease ends");
    expect(await state.webhooks.settle(first!, { state: "delivered", attempts: 1 })).toBe(false);
    expect(await state.webhooks.settle(again, { state: "pending", attempts: 1 }, 60_000)).toBe(true);
    expect((await state.webhooks.take(10, 10)).nextInMs).toBeGreaterThan(50_000);
    const redis = new Redis(gateway.redisUrl);
    expect(await redis.ttl(`outbox:inv:${id}`)).toBeGreaterThan(7 * 3600);
    redis.disconnect();
  });
});

describe("the secret", () => {
  it("is for the administrator only, sealed in the bucket, and can be made anew", async () => {
    const { token } = (await (
      await gateway.request("/v1/tokens", { method: "POST", body: JSON.stringify({ name: "colleague" }) })
    ).json()) as any;
    const headers = { authorization: `Bearer ${token}` };
    expect((await gateway.request("/v1/webhooks/secret", { headers })).status).toBe(403);
    expect((await gateway.request("/v1/webhooks/secret/rotate", { method: "POST", headers })).status).toBe(403);
    const read = async () => ((await (await gateway.request("/v1/webhooks/secret")).json()) as any).secret;
    const before = await read();
    expect(await read()).toBe(before);
    await gateway.request("/v1/webhooks/secret/rotate", { method: "POST" });
    expect(await read()).not.toBe(before);
    const stored = await gateway.deps.objects.get("secrets/webhook.json");
    const text = (await stored!.body.toArray()).join("");
    expect(text).not.toContain((await read()).slice(6, 20));
  });
});
