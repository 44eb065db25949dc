/** The HTTP contract of calls: who may, what is refused before it is queued, and every form of the outcome. */

import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createConnection } from "node:net";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { FabricError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import { inputKey, type Outcome } from "../../core/invocation.ts";
import { OPEN_ROUTES } from "../../gateway/authorize.ts";
import { createToken } from "../../gateway/tokens.ts";
import { functionSpec, startGateway, type TestGateway } from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
let stopServing: () => Promise<void>;

const json = (text: string): Outcome => ({
  state: "succeeded",
  result: { encoding: "json", size: text.length, inline: Buffer.from(text) },
});

beforeAll(async () => {
  gateway = await startGateway();
  const ab = ["a", "b"].map((name) => ({ name, kind: "normal", required: true }));
  await gateway.deploy("math", [
    functionSpec("echo"),
    functionSpec("add", { parameters: ab }),
    functionSpec("boom"),
    functionSpec("never"),
    functionSpec("pickled"),
  ]);
  const stops = await Promise.all([
    gateway.serve("math/echo", (record) => json(record.input?.toString() ?? '"from the bucket"')),
    gateway.serve("math/boom", () => ({
      state: "failed",
      error: new FabricError("exception", "ValueError: no").toBody(),
      exception: Buffer.from("pickled exception"),
    })),
    gateway.serve("math/pickled", () => ({
      state: "succeeded",
      result: { encoding: "pickle", size: 3, inline: Buffer.from("\x80\x05.", "latin1") },
    })),
  ]);
  stopServing = async () => void (await Promise.all(stops.map((stop) => stop())));
});
afterAll(async () => {
  await stopServing();
  await gateway.close();
});

const call = (path: string, body?: string, headers: Record<string, string> = {}) =>
  gateway.request(path, { method: "POST", body, headers });
const full = (fn: string) => `/v1/apps/math/functions/${fn}/invocations`;
const codeOf = async (reply: Response) => ((await reply.json()) as { error: { code: string } }).error.code;

test("parameters, which only classes have, are not taken in silence", async () => {
  const reply = await call("/f/math/add", "[1,2]", { "fabric-parameters": '{"size":"large"}' });
  expect(reply.status).toBe(422);
  expect(await codeOf(reply)).toBe("invalid_parameters");
});

describe("the door", () => {
  it("is shut on every route that is not listed as open", async () => {
    const paths = gateway.app.routes.filter(({ path, method }) => method !== "ALL" && !OPEN_ROUTES.has(path));
    expect(paths.length).toBeGreaterThan(25);
    for (const { method, path } of paths) {
      const reply = await gateway.app.request(path.replaceAll(/:(\w+)(\{.*?\})?/g, "x"), { method });
      expect([method, path, reply.status]).toEqual([method, path, 401]);
    }
    for (const path of OPEN_ROUTES) expect((await gateway.app.request(path)).status).toBe(200);
  });

  it("does not tell unknown routes from known ones, and open routes only open for reading", async () => {
    expect((await gateway.app.request("/v1/nothing")).status).toBe(401);
    expect((await gateway.app.request("/healthz", { method: "POST" })).status).toBe(401);
    expect((await gateway.request("/v1/nothing")).status).toBe(404);
  });

  it("tells which methods a path takes, after who asks", async () => {
    for (const [method, path, allow] of [
      ["GET", "/f/math/add", "POST"],
      ["DELETE", "/v1/apps", "GET, HEAD"],
      ["POST", "/v1/apps/math", "GET, HEAD, DELETE"],
      ["POST", "/healthz", "GET, HEAD"],
      ["OPTIONS", "/v1/checkpoints/s/1/files/a/b", "GET, HEAD"],
    ] as const) {
      const reply = await gateway.request(path, { method });
      expect([path, reply.status, reply.headers.get("allow")]).toEqual([path, 405, allow]);
      expect(await codeOf(reply)).toBe("method_not_allowed");
      expect((await gateway.app.request(path, { method })).status).toBe(401);
    }
    expect((await gateway.request("/f/math/add", { method: "HEAD" })).status).toBe(405);
    expect((await gateway.request("/f/math", { method: "POST" })).status).toBe(404);
  });

  it("takes tokens until they are revoked or expire, and no others", async () => {
    const made = await gateway.request("/v1/tokens", { method: "POST", body: '{"name":"ci"}' });
    const { id, token } = (await made.json()) as { id: string; token: string };
    const use = (text: string) => gateway.app.request("/v1/apps", { headers: { authorization: `Bearer ${text}` } });
    expect((await use(token)).status).toBe(200);
    const other = (await createToken(gateway.deps, { name: "other" })).token;
    const forged = `${token.slice(0, 31)}${other.slice(31)}`;
    expect(await codeOf(await use(forged))).toBe("unauthorized");
    expect(await codeOf(await use("fab_../../x_y"))).toBe("unauthorized");
    const past = { objects: gateway.deps.objects, clock: { ...gateway.deps.clock, now: () => 0 } };
    const old = await createToken(past, { name: "old", expiresInSeconds: 1 });
    expect(await codeOf(await use(old.token))).toBe("token_expired");
    const listed = await (await gateway.request("/v1/tokens")).text();
    expect(listed).toContain(id);
    expect(listed).not.toContain("sha256");
    expect((await gateway.request(`/v1/tokens/${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await use(token)).status).toBe(401);
    expect((await gateway.request(`/v1/tokens/${id}`, { method: "DELETE" })).status).toBe(404);
  });
});

describe("outcomes", () => {
  it("answers a result in its envelope, with id and timings", async () => {
    const reply = await call(full("echo"), '{"n":12345678901234567890}');
    expect(reply.status).toBe(200);
    const id = reply.headers.get("fabric-invocation");
    expect(await reply.text()).toBe(
      `{"id":"${id}","state":"succeeded","result":{"args":[],"kwargs":{"n":12345678901234567890}}}`,
    );
    expect(reply.headers.get("server-timing")).toMatch(/^queue;dur=\d+, .*store;dur=/);
  });

  it("answers the plain result in the short form", async () => {
    expect(await (await call("/f/math/echo", "[1]")).json()).toEqual({ args: [1], kwargs: {} });
    expect(await (await call("/f/math/echo")).json()).toEqual({ args: [], kwargs: {} });
  });

  it("answers errors with the table's status, and keeps the exception for Python", async () => {
    const reply = await call(full("boom"));
    expect(reply.status).toBe(500);
    const { id, state, error } = (await reply.json()) as { id: string; state: string; error: { code: string } };
    expect([state, error.code]).toEqual(["failed", "exception"]);
    const exception = await gateway.request(`/v1/invocations/${id}/exception`);
    expect(await exception.text()).toBe("pickled exception");
    expect(await (await call("/f/math/boom")).json()).toMatchObject({
      error: { code: "exception" },
      id: expect.stringMatching(/^inv_/),
    });
  });

  it("answers pickles as such", async () => {
    const reply = await call(full("pickled"));
    expect(reply.headers.get("content-type")).toBe("application/vnd.fabric.pickle");
    expect((await reply.arrayBuffer()).byteLength).toBe(3);
  });

  it("says where the time went also when nothing was run yet, or ever", async () => {
    const accepted = await call(full("never"), "{}", { prefer: "respond-async" });
    expect([accepted.status, accepted.headers.get("server-timing")]).toEqual([
      202,
      expect.stringMatching(/^accept;dur=/),
    ]);
    const refused = await call("/f/math/add", "[1, 2, 3]");
    expect([refused.status, refused.headers.get("server-timing")]).toEqual([
      422,
      expect.stringMatching(/^accept;dur=/),
    ]);
    expect((await call(full("boom"))).headers.get("server-timing")).toMatch(/run;dur=/);
    const { id } = (await accepted.json()) as { id: string };
    await gateway.request(`/v1/invocations/${id}/cancel`, { method: "POST" });
  });

  it("answers 202 when it has not ended, and the rest later", async () => {
    const reply = await call(full("never"), undefined, { prefer: "wait=0.05" });
    expect(reply.status).toBe(202);
    const { id, reason } = (await reply.json()) as { id: string; reason: string };
    expect(reason).not.toBe("");
    expect(reply.headers.get("location")).toBe(`/v1/invocations/${id}`);
    const shown = await (await gateway.request(`/v1/invocations/${id}`)).json();
    expect(shown).toMatchObject({ id, app: "math", function: "never", state: "queued", version: "1" });
    const listed = (await (await gateway.request("/v1/invocations?app=math&function=never")).json()) as any;
    expect(listed.invocations.map((one: { id: string }) => one.id)).toContain(id);
    const waiting = gateway.request(`/v1/invocations/${id}/result`);
    expect(await (await call(`/v1/invocations/${id}/cancel`)).json()).toEqual({ id, state: "cancelled" });
    const result = await waiting;
    expect(result.status).toBe(409);
    expect(await result.json()).toMatchObject({ id, state: "cancelled", error: { code: "cancelled" } });
    expect(await codeOf(await call(`/v1/invocations/${id}/cancel`))).toBe("invocation_ended");
  });

  it("keeps large inputs in the bucket", async () => {
    const reply = await call(full("echo"), JSON.stringify(["x".repeat(100_000)]));
    const { id, result } = (await reply.json()) as { id: string; result: string };
    expect(result).toBe("from the bucket");
    expect((await gateway.deps.objects.head(inputKey(id)))?.size).toBeGreaterThan(100_000);
  });

  it("runs a call with the same Idempotency-Key once, and tells another call apart", async () => {
    const headers = { "idempotency-key": "order-7" };
    const first = (await (await call(full("echo"), "[1]", headers)).json()) as { id: string };
    const again = (await (await call(full("echo"), "[1]", headers)).json()) as { id: string };
    expect(again).toEqual(first);
    expect(await codeOf(await call(full("echo"), "[2]", headers))).toBe("idempotency_mismatch");
    expect(await codeOf(await call(full("echo"), "[1]", { "idempotency-key": "k".repeat(256) }))).toBe("bad_request");
  });
});

describe("bad input", () => {
  const deep = `${"[".repeat(101)}${"]".repeat(101)}`;
  test.each([
    ["unknown app", "/f/nope/echo", "{}", 404, "app_not_found"],
    ["unknown function", "/f/math/nope", "{}", 404, "function_not_found"],
    ["unknown version", "/f/math/echo?version=99", "{}", 404, "version_not_found"],
    ["a version that is a path", "/f/math/echo?version=../1", "{}", 404, "version_not_found"],
    ["an ended ephemeral version", `/f/math/echo?version=${newId("run")}`, "{}", 404, "version_not_found"],
    ["a slash in the app", "/f/a%2Fb/echo", "{}", 400, "invalid_name"],
    ["dots in the app", "/f/..%2F..%2Fetc/echo", "{}", 400, "invalid_name"],
    ["a newline in the app", "/f/a%0Ab/echo", "{}", 400, "invalid_name"],
    ["a slash in the function", "/f/math/a%2Fb", "{}", 400, "invalid_name"],
    ["a NUL in the function", "/f/math/a%00b", "{}", 400, "invalid_name"],
    ["no JSON", "/f/math/echo", "{nope", 400, "invalid_json"],
    ["too deep", "/f/math/echo", deep, 400, "body_too_deep"],
    ["too large", "/f/math/echo", `["${"x".repeat(1024 * 1024)}"]`, 413, "body_too_large"],
    ["missing argument", "/f/math/add", '{"a":1}', 422, "invalid_arguments"],
    ["unknown argument", "/f/math/add", '{"a":1,"b":2,"c":3}', 422, "invalid_arguments"],
    ["too many arguments", "/f/math/add", "[1,2,3]", 422, "invalid_arguments"],
  ])("%s", async (_name, path, body, status, code) => {
    const reply = await call(path, body);
    const { error } = (await reply.json()) as { error: Record<string, unknown> };
    expect([reply.status, error.code]).toEqual([status, code]);
    expect(Object.keys(error)).toEqual(expect.arrayContaining(["code", "message", "retryable", "fault"]));
  });

  it("names all arguments that do not fit", async () => {
    const reply = await call("/f/math/add", '{"a":1,"c":3}');
    expect(((await reply.json()) as any).error.details.problems).toEqual([
      "missing argument 'b'",
      "unknown argument 'c'",
    ]);
  });

  it("queues nothing of what it refuses", async () => {
    const { invocations } = (await (await gateway.request("/v1/invocations?app=math&function=add")).json()) as any;
    expect(invocations).toEqual([]);
  });

  it("refuses ids that are none, and queries that do not fit", async () => {
    for (const id of ["x", "..%2F..", "inv_short", newId("inv")])
      expect(await codeOf(await gateway.request(`/v1/invocations/${id}`))).toBe("invocation_not_found");
    expect(await codeOf(await gateway.request("/v1/invocations?limit=0"))).toBe("bad_request");
  });

  it("refuses a body that is announced too large before it comes", async () => {
    const server = await gateway.listen();
    const socket = createConnection(server.port, "127.0.0.1");
    const auth = "Authorization: Bearer admin-token-of-tests";
    socket.write(`POST /f/math/echo HTTP/1.1\r\nHost: x\r\n${auth}\r\nContent-Length: 999999999\r\n\r\n[`);
    const [reply] = (await once(socket, "data")) as [Buffer];
    expect(reply.toString()).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
    await server.close();
  });
});

it("keeps nothing of an upload whose connection breaks", async () => {
  const server = await gateway.listen();
  const socket = createConnection(server.port, "127.0.0.1");
  const name = "a".repeat(64);
  const auth = "Authorization: Bearer admin-token-of-tests";
  const files = () => readdir(gateway.deps.tempDir);
  socket.write(`PUT /v1/sources/${name} HTTP/1.1\r\nHost: x\r\n${auth}\r\nContent-Length: 100000\r\n\r\npart`);
  await until(async () => (await files()).length > 0, 5_000, "the upload has begun");
  socket.destroy();
  await until(async () => (await files()).length === 0, 5_000, "its file is gone");
  expect(await gateway.deps.objects.head(`sources/${name}.tar.gz`)).toBeUndefined();
  await server.close();
});
