/** Large inputs and results past the gateway: uploads in one piece and in parts, calls that name them, redirects to results. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newId } from "../../core/ids.ts";
import { inputKey } from "../../core/invocation.ts";
import { PART_BYTES, partSizes } from "../../gateway/uploads.ts";
import { createClient } from "../../sdk/typescript/client.ts";
import { bytesOf } from "../../sdk/typescript/upload.ts";
import { ADMIN, functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";

let gateway: TestGateway;
let stop: () => Promise<void>;
beforeAll(async () => {
  gateway = await startGateway();
  await gateway.deploy("a", [functionSpec("f"), functionSpec("waits")]);
  await gateway.deps.objects.put("large", Buffer.alloc(9_000_000, "1"));
  stop = await gateway.serve("a/f", () => ({
    state: "succeeded",
    result: { encoding: "json", size: 9_000_000, key: "large" },
  }));
});
afterAll(async () => {
  await stop();
  await gateway.close();
});

const post = async (path: string, body?: object, headers: Record<string, string> = {}) => {
  const reply = await gateway.request(path, {
    method: "POST",
    body: body === undefined ? null : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
    redirect: "manual",
  });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, body: text === "" ? undefined : JSON.parse(text) };
};
const put = (url: string, body: Buffer | string) =>
  fetch(url, { method: "PUT", body: body as Uint8Array<ArrayBuffer> | string });
async function uploaded(text: string): Promise<string> {
  const { body } = await post("/v1/uploads", { size: text.length });
  expect((await put(body.parts[0].url, text)).status).toBe(200);
  return body.id;
}
const INPUT = '{"args":[1],"kwargs":{}}';
const call = (fn: string, upload: string, more: Record<string, string> = {}) =>
  post(`/v1/apps/a/functions/${fn}/invocations`, undefined, {
    "fabric-input": upload,
    "fabric-body": "call",
    prefer: "respond-async",
    ...more,
  });
const readInput = async (id: string): Promise<string> => {
  const object = await gateway.deps.objects.get(inputKey(id));
  return (await object!.body.toArray()).join("");
};

describe("an upload", () => {
  it("becomes the input of the call that names it", async () => {
    const upload = await uploaded(INPUT);
    const { status, body } = await call("waits", upload);
    expect([status, body.id]).toEqual([202, upload.replace("upl", "inv")]);
    expect(await readInput(body.id)).toBe(INPUT);
    const record = await gateway.deps.state.invocations.get(body.id);
    expect(record).toMatchObject({ state: "queued", encoding: "json" });
    expect(record?.input).toBeUndefined();
  });

  it("takes exactly the bytes that were announced", async () => {
    const { body } = await post("/v1/uploads", { size: 3 });
    expect((await put(body.parts[0].url, "four")).status).toBe(403);
    expect((await put(body.parts[0].url, "two".slice(0, 2))).status).toBe(403);
    expect((await call("waits", body.id)).body.error.code).toBe("upload_not_found");
    expect((await put(body.parts[0].url, "abc")).status).toBe(200);
  });

  it("comes in parts when it is large", async () => {
    const size = PART_BYTES + 5;
    const { body } = await post("/v1/uploads", { size });
    expect(body.parts.map((part: any) => [part.number, part.size])).toEqual([
      [1, PART_BYTES],
      [2, 5],
    ]);
    const first = await put(body.parts[0].url, Buffer.alloc(PART_BYTES, "x"));
    const etags = [first.headers.get("etag")!];
    const complete = (parts: object[]) => post(`/v1/uploads/${body.id}/complete`, { upload: body.upload, parts });
    const part = (number: number) => ({ number, etag: etags[number - 1] ?? '"missing"' });
    expect((await complete([part(1), part(2)])).body.error.code).toBe("upload_incomplete");
    expect((await call("waits", body.id)).body.error.code).toBe("upload_not_found");
    etags.push((await put(body.parts[1].url, "12345")).headers.get("etag")!);
    for (const _again of [1, 2]) expect(await complete([part(1), part(2)])).toMatchObject({ status: 200 });
    const { body: accepted } = await call("waits", body.id);
    expect((await gateway.deps.objects.head(inputKey(accepted.id)))?.size).toBe(size);
  });

  it("is the input of one call, and of that call's repeats", async () => {
    const upload = await uploaded(INPUT);
    const key = { "idempotency-key": "k1" };
    const first = await call("waits", upload, key);
    expect(await call("waits", upload, key)).toMatchObject({ body: { id: first.body.id } });
    for (const more of [{}, { "idempotency-key": "k2" }] as Record<string, string>[])
      expect(await call("waits", upload, more)).toMatchObject({
        status: 409,
        body: { error: { code: "upload_used", details: { invocation: first.body.id } } },
      });
    expect((await call("f", upload, key)).body.error.code).toBe("idempotency_mismatch");
    expect((await call("waits", upload, { "idempotency-key": "k2" })).body.error.code).toBe("upload_used");
    const again = await uploaded(INPUT);
    expect(await call("waits", again, key)).toMatchObject({ body: { id: first.body.id } });
    expect(await readInput(first.body.id)).toBe(INPUT);
    expect(await gateway.deps.objects.head(inputKey(again.replace("upl", "inv")))).toBeUndefined();
  });

  it("is refused where it is none, too old, too large, or not alone", async () => {
    const code = async (reply: Promise<{ body: any }>) => (await reply).body.error.code;
    const upload = await uploaded(INPUT);
    for (const wrong of ["upl_1", "../x", newId("inv"), newId("upl"), newId("upl", Date.now() - 25 * 3_600_000)])
      expect(await code(call("waits", wrong))).toBe("upload_not_found");
    for (const size of [0, -1, 1.5, 5 * 1024 ** 3 + 1])
      expect(await code(post("/v1/uploads", { size }))).toBe("bad_request");
    expect(await code(call("waits", upload, { "fabric-body": "" }))).toBe("bad_request");
    const path = "/v1/apps/a/functions/waits/invocations";
    expect(await code(post(path, {}, { "fabric-input": upload, "fabric-body": "call" }))).toBe("bad_request");
    const pickle = { "content-type": "application/vnd.fabric.pickle", "fabric-python": "3.9" };
    expect(await code(call("waits", upload, pickle))).toBe("python_mismatch");
    expect(await code(post(`/v1/uploads/${newId("upl")}/complete`, { upload: "x", parts: [] }))).toBe("bad_request");
    expect((await call("waits", upload)).status).toBe(202);
  });

  it("that is never finished is dropped", async () => {
    await post("/v1/uploads", { size: PART_BYTES + 1 });
    const { uploads } = gateway.deps;
    expect(await uploads.dropParts("invocations/", Date.now() - 60_000)).toBe(0);
    expect(await uploads.dropParts("invocations/", Date.now() + 60_000)).toBe(1);
  });
});

it("an input too large for a request is copied in the bucket when its call is redriven", async () => {
  const text = JSON.stringify({ args: ["x".repeat(1_100_000)], kwargs: {} });
  const { body } = await call("waits", await uploaded(text));
  await gateway.request(`/v1/invocations/${body.id}/cancel`, { method: "POST" });
  const redriven = await post(`/v1/invocations/${body.id}/redrive`);
  expect(redriven.body).toMatchObject({ id: expect.stringMatching(/^inv_/) });
  expect(redriven.body.id).not.toBe(body.id);
  expect(await readInput(redriven.body.id)).toBe(text);
});

it("the TypeScript client uploads what is large, and small input travels with the call", async () => {
  const listening = await gateway.listen();
  try {
    const client = createClient({ url: `http://127.0.0.1:${listening.port}`, token: ADMIN });
    const value = { x: "ü".repeat(5_000_000) };
    const large = await client.invoke("a", "waits", JSON.stringify(value), { waitSeconds: 0 });
    expect(JSON.parse(await readInput(large.id))).toEqual({ args: [], kwargs: value });
    const list = await client.invoke("a", "waits", await client.upload(bytesOf(" [1]")), { waitSeconds: 0 });
    expect(await readInput(list.id)).toBe('{"args": [1],"kwargs":{}}');
    const small = await client.invoke("a", "waits", "[1]", { waitSeconds: 0 });
    expect((await gateway.deps.state.invocations.get(small.id))!.input!.toString()).toContain("[1]");
  } finally {
    await listening.close();
  }
});

it("5 GiB are 80 parts", () => {
  expect(partSizes(5 * 1024 ** 3)).toHaveLength(80);
  expect(partSizes(PART_BYTES + 1)).toEqual([PART_BYTES, 1]);
});

it("a large result is a redirect for callers who say that they follow it, and passes through for others", async () => {
  const path = "/v1/apps/a/functions/f/invocations";
  const redirected = await post(path, undefined, { "fabric-accept": "pickle, redirect" });
  expect([redirected.status, redirected.headers.get("fabric-encoding")]).toEqual([303, "json"]);
  const location = redirected.headers.get("location")!;
  expect((await (await fetch(location)).text()).length).toBe(9_000_000);
  const id = redirected.headers.get("fabric-invocation");
  const result = await gateway.request(`/v1/invocations/${id}/result`, { headers: { "fabric-accept": "redirect" } });
  expect(result.status).toBe(303);
  const plain = await gateway.request(`/v1/invocations/${id}/result`);
  expect([plain.status, (await plain.text()).length > 9_000_000]).toEqual([200, true]);
});
