/** The HTTP contract of sources, deployments, versions, checkpoints, logs and the gateway's own pages. */
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { checkpointManifestKey, checkpointPrefix } from "../../core/checkpoint.ts";
import { newId } from "../../core/ids.ts";
import { sweepOnce } from "../../gateway/sweep.ts";
import {
  ADMIN,
  functionSpec,
  lines,
  sha256,
  startGateway,
  type TarEntry,
  type TestGateway,
  tarGz,
} from "../support/gateway.ts";
import { until } from "../support/redis.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

const put = (name: string, body: Buffer) =>
  gateway.request(`/v1/sources/${name}`, { method: "PUT", body: body as Uint8Array<ArrayBuffer> });
const get = async (path: string): Promise<any> => (await gateway.request(path)).json();
const codeOf = async (reply: Response) => ((await reply.json()) as any).error.code;

describe("sources", () => {
  it("stores a checked archive once, under its hash", async () => {
    const archive = await tarGz([
      { name: "pkg/", type: "directory", mode: 0o755 },
      { name: "pkg/app.py", content: "import fabric_sdk" },
    ]);
    const name = sha256(archive);
    expect((await gateway.request(`/v1/sources/${name}`, { method: "HEAD" })).status).toBe(404);
    expect((await put(name, archive)).status).toBe(201);
    expect((await put(name, archive)).status).toBe(200);
    expect((await gateway.request(`/v1/sources/${name}`, { method: "HEAD" })).status).toBe(200);
    expect((await gateway.deps.objects.head(`sources/${name}.tar.gz`))?.size).toBe(archive.length);
    expect(await codeOf(await put("b".repeat(64), archive))).toBe("bad_request");
    expect(await codeOf(await put("../x", archive))).toBe("route_not_found");
    expect(await codeOf(await put("..%2Fx", archive))).toBe("bad_request");
  });

  const attacks: [string, TarEntry[], string][] = [
    ["a way up", [{ name: "../evil" }], "archive_invalid"],
    ["an absolute name", [{ name: "/etc/cron.d/evil" }], "archive_invalid"],
    ["a symlink", [{ name: "link", type: "symlink", linkname: "/etc" }], "archive_invalid"],
    ["a hard link", [{ name: "link", type: "link", linkname: "/etc/passwd" }], "archive_invalid"],
    ["a device", [{ name: "null", type: "character-device" }], "archive_invalid"],
    ["a pipe", [{ name: "pipe", type: "fifo" }], "archive_invalid"],
    ["setuid", [{ name: "su", mode: 0o4755 }], "archive_invalid"],
    ["a duplicate", [{ name: "a" }, { name: "./a" }], "archive_invalid"],
    ["a file that becomes a folder", [{ name: "a" }, { name: "a/b" }], "archive_invalid"],
    ["a folder that becomes a file", [{ name: "a/b" }, { name: "a" }], "archive_invalid"],
    ["a newline in a name", [{ name: "a\nRUN evil" }], "archive_invalid"],
    ["nothing", [], "archive_invalid"],
    ["too much", [{ name: "zeros", content: Buffer.alloc(9 * 1024 * 1024) }], "archive_too_large"],
  ];
  test.each(attacks)("refuses %s", async (_name, entries, code) => {
    const archive = await tarGz(entries);
    expect(await codeOf(await put(sha256(archive), archive))).toBe(code);
    expect(await gateway.deps.objects.head(`sources/${sha256(archive)}.tar.gz`)).toBeUndefined();
  });

  test.each([
    ["no gzip", Buffer.from("not an archive")],
    ["gzip of no tar", gzipSync(Buffer.alloc(2000, 7))],
    ["a gzip cut short", gzipSync(Buffer.alloc(100_000, 7)).subarray(0, 50)],
    ["an empty body", Buffer.alloc(0)],
  ])("refuses %s", async (_name, body) => {
    expect(await codeOf(await put(sha256(body), body))).toMatch(/archive_invalid|bad_request/);
  });

  it("refuses an archive that unpacks to many times its size", async () => {
    const roomy = await startGateway({ sourceBytes: 64 * 1024 * 1024 });
    const bomb = await tarGz([{ name: "zeros", content: Buffer.alloc(32 * 1024 * 1024) }]);
    const reply = await roomy.request(`/v1/sources/${sha256(bomb)}`, {
      method: "PUT",
      body: bomb as Uint8Array<ArrayBuffer>,
    });
    expect(await codeOf(reply)).toBe("archive_invalid");
    await roomy.close();
  });

  it("describes an archive in a container", async () => {
    const archive = await tarGz([{ name: "app.py", content: "" }]);
    const ask = (query: string) =>
      gateway.request(`/v1/describe?${query}`, { method: "POST", body: archive as Uint8Array<ArrayBuffer> });
    expect(await (await ask("path=app.py&python=3.11")).json()).toEqual({ args: ["fabric_sdk.describe", "app.py"] });
    for (const path of ["../app.py", "/app.py", "-c", "a;b"])
      expect(await codeOf(await ask(`path=${encodeURIComponent(path)}&python=3.11`))).toBe("bad_request");
  });
});

describe("deployments", () => {
  it("makes versions, leaves equal ones alone, rolls back, and forgets", async () => {
    expect(await gateway.deploy("web", [functionSpec("a")])).toEqual({
      type: "deployed",
      app: "web",
      version: "1",
      unchanged: false,
      urls: { a: "http://fabric.test/f/web/a" },
    });
    expect(await gateway.deploy("web", [functionSpec("a")])).toMatchObject({ version: "1", unchanged: true });
    expect(await gateway.deploy("web", [functionSpec("a"), functionSpec("b")])).toMatchObject({ version: "2" });
    expect((await get("/v1/apps")).apps.map((app: any) => app.app)).toContain("web");
    expect((await get("/v1/apps/web")).functions.map((fn: any) => fn.name)).toEqual(["a", "b"]);
    const roll = (body: string) => gateway.request("/v1/apps/web/rollback", { method: "POST", body });
    expect(await (await roll("{}")).json()).toMatchObject({ version: "1" });
    expect(await codeOf(await roll("{}"))).toBe("version_not_found");
    expect(await (await roll('{"version":"2"}')).json()).toMatchObject({ version: "2" });
    expect(await codeOf(await roll('{"version":"9"}'))).toBe("version_not_found");
    expect((await get("/v1/apps/web/versions")).versions.map((one: any) => [one.version, one.current])).toEqual([
      ["1", false],
      ["2", true],
    ]);
    expect(await get("/v1/apps/web/versions/1")).toMatchObject({
      app: "web",
      version: "1",
      images: { main: { ref: "ref-3.11-" } },
    });
    const waiting = await gateway.request("/v1/apps/web/functions/a/invocations", {
      method: "POST",
      headers: { prefer: "respond-async" },
    });
    const { id } = (await waiting.json()) as any;
    expect(await (await gateway.request("/v1/apps/web", { method: "DELETE" })).json()).toEqual({
      app: "web",
      cancelled: 1,
    });
    expect(await get(`/v1/invocations/${id}`)).toMatchObject({ state: "cancelled" });
    expect((await gateway.request("/v1/apps/web")).status).toBe(404);
    expect((await gateway.request("/f/web/a", { method: "POST" })).status).toBe(404);
  });

  const source = "c".repeat(64);
  const base = { app: "bad", source, images: { main: { python: "3.11", layers: [] } }, functions: [functionSpec("f")] };
  const pip = (...packages: string[]) => ({
    ...base,
    images: { main: { python: "3.11", layers: [{ kind: "pip", packages }] } },
  });
  const cases: [string, unknown, string][] = [
    ["a source that was not uploaded", base, "source_not_found"],
    ["two functions of one name", { ...base, functions: [functionSpec("f"), functionSpec("f")] }, "function_duplicate"],
    [
      "an image that is not there",
      { ...base, functions: [functionSpec("f", { image: "other" })] },
      "image_spec_invalid",
    ],
    [
      "an image named like Object's",
      { ...base, functions: [functionSpec("f", { image: "constructor" })] },
      "image_spec_invalid",
    ],
    ["a newline in a package", pip("numpy\nRUN evil"), "image_spec_invalid"],
    ["an option as package", pip("--index-url=http://evil"), "image_spec_invalid"],
    ["a shell in a package", pip("x; rm -rf /"), "image_spec_invalid"],
    [
      "an unknown layer",
      { ...base, images: { main: { python: "3.11", layers: [{ kind: "dockerfile" }] } } },
      "image_spec_invalid",
    ],
    ["Python 2", { ...base, images: { main: { python: "2.7" } } }, "image_spec_invalid"],
    ["a bad function name", { ...base, functions: [functionSpec("a b")] }, "invalid_name"],
    ["another app's name", { ...base, app: "other" }, "bad_request"],
    ["an unknown field", { ...base, privileged: true }, "bad_request"],
    [
      "an entry that is a path",
      { ...base, functions: [functionSpec("f", { entry: { pickle: "../../x" } })] },
      "bad_request",
    ],
    ["a negative cpu", { ...base, functions: [functionSpec("f", { cpu: -1 })] }, "bad_request"],
    ["no object", 7, "bad_request"],
  ];
  test.each(cases)("refuses %s at once", async (_name, body, code) => {
    const reply = await gateway.request("/v1/apps/bad/deployments", { method: "POST", body: JSON.stringify(body) });
    expect(reply.headers.get("content-type")).toContain("application/json");
    expect(await codeOf(reply)).toBe(code);
  });

  const withPackages = async (app: string, packages: string[], query = "", send = gateway.request) => {
    const archive = await tarGz([{ name: "app.py" }]);
    await put(sha256(archive), archive);
    const images = { main: { python: "3.11", layers: [{ kind: "pip", packages }] } };
    const body = { app, source: sha256(archive), images, functions: [functionSpec("f")] };
    return send(`/v1/apps/${app}/deployments${query}`, { method: "POST", body: JSON.stringify(body) });
  };

  it("tells a failed build as its last event, and publishes nothing", async () => {
    const events = lines(await (await withPackages("broken", ["missing"])).text());
    expect(events.map((event) => event.type)).toEqual(["step", "error"]);
    expect(events[1].error).toMatchObject({ code: "image_build_failed", fault: "user" });
    expect((await gateway.request("/v1/apps/broken")).status).toBe(404);
  });

  it("ends a build whose client has gone", async () => {
    let aborted = false;
    const { builder } = gateway.deps;
    gateway.deps.builder = {
      ...builder,
      build: (spec, onEvent, signal) => {
        signal.addEventListener("abort", () => {
          aborted = true;
        });
        return builder.build(spec, onEvent, signal);
      },
    };
    const reply = await withPackages("gone", ["slow"]);
    const reader = reply.body!.getReader();
    await reader.read();
    await reader.cancel();
    await until(() => aborted, 2_000, "the build is aborted");
    gateway.deps.builder = builder;
  });

  it("refuses what no node can hold, once nodes are known", async () => {
    const node = { id: "nod_1", runner: "run_1", engine: "process", hostname: "h", gpus: [], startedAt: 0 };
    await gateway.deps.state.capacity.announce({ ...node, cpuMillis: 2000, memoryBytes: 2 ** 30 }, 60_000);
    const last = await gateway.deploy("big", [functionSpec("f", { cpu: 64 })]);
    expect(last.error.code).toBe("resources_unavailable");
    expect((await get("/v1/nodes")).nodes).toMatchObject([{ id: "nod_1", booked: { containers: 0 } }]);
    await gateway.deps.state.capacity.withdraw("nod_1");
  });

  it("keeps an ephemeral version while its client stays, and ends its calls afterwards", async () => {
    const server = await gateway.listen();
    const client = new AbortController();
    const headers = { authorization: `Bearer ${ADMIN}` };
    const send = (to: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${server.port}${to}`, { ...init, headers, signal: client.signal });
    const stream = await withPackages("brief", ["numpy"], "?ephemeral=true", send);
    const reader = stream.body!.getReader();
    let text = "";
    while (!text.includes('"deployed"')) text += Buffer.from((await reader.read()).value!).toString();
    const { version } = lines(text).at(-1);
    expect(version).toMatch(/^run_/);
    const path = `/v1/apps/brief/functions/f/invocations?version=${version}`;
    const spawned = await gateway.request(path, { method: "POST", headers: { prefer: "respond-async" } });
    const { id } = (await spawned.json()) as any;
    expect((await gateway.request("/v1/apps/brief")).status).toBe(404);
    client.abort();
    await until(async () => (await get(`/v1/invocations/${id}`)).state === "cancelled", 5_000, "its call is cancelled");
    expect((await gateway.request(path, { method: "POST" })).status).toBe(404);
    await server.close();
  });
});

it("lists checkpoints, sends their files whole or in part, and deletes them", async () => {
  const { objects } = gateway.deps;
  const file = { path: "model/w.bin", size: 10, sha256: "d".repeat(64) };
  const manifest = {
    series: "bert",
    step: 7,
    createdAt: "",
    invocation: "inv_x",
    generation: 1,
    app: "a",
    fn: "f",
    version: "1",
    metrics: { loss: 1 },
    files: [file],
  };
  await objects.put(`${checkpointPrefix("bert", 7)}${file.path}`, "0123456789");
  await objects.put(`${checkpointPrefix("bert", 8)}${file.path}`, "not complete");
  expect((await gateway.request("/v1/checkpoints/bert/7")).status).toBe(404);
  await objects.put(checkpointManifestKey("bert", 7), JSON.stringify(manifest));
  expect(await get("/v1/checkpoints")).toEqual({ series: ["bert"] });
  expect((await get("/v1/checkpoints/bert")).checkpoints).toEqual([manifest]);
  expect(await get("/v1/checkpoints/bert/latest")).toEqual(manifest);
  const path = "/v1/checkpoints/bert/7/files/model/w.bin";
  expect(await (await gateway.request(path)).text()).toBe("0123456789");
  const part = await gateway.request(path, { headers: { range: "bytes=2-4" } });
  expect([part.status, part.headers.get("content-range"), await part.text()]).toEqual([206, "bytes 2-4/10", "234"]);
  expect((await gateway.request(path, { headers: { range: "bytes=10-" } })).status).toBe(416);
  const elsewhere = await gateway.request(`${path}?redirect=true`);
  expect(elsewhere.status).toBe(307);
  expect(await (await fetch(elsewhere.headers.get("location")!)).text()).toBe("0123456789");
  expect((await gateway.request("/v1/checkpoints/bert/7/files/manifest.json")).status).toBe(404);
  expect(await codeOf(await gateway.request("/v1/checkpoints/..%2Fx/7"))).toBe("invalid_name");
  expect((await gateway.request("/v1/checkpoints/bert/7", { method: "DELETE" })).status).toBe(200);
  expect((await gateway.request("/v1/checkpoints/bert/7")).status).toBe(404);
});

it("sends logs that are kept, filtered, and those that come", async () => {
  const line = (text: string, fn = "f") => ({ at: 1, fn, container: "con_1", source: "stdout" as const, text });
  await gateway.deps.state.logs.append("talk", [line("one"), line("two", "g"), line("three")]);
  const texts = async (query: string) => {
    const reply = await gateway.request(`/v1/apps/talk/logs${query}`);
    return lines(await reply.text()).map(({ text }) => text);
  };
  expect(await texts("")).toEqual(["one", "two", "three"]);
  expect(await texts("?function=f")).toEqual(["one", "three"]);
  expect(await texts("?tail=1")).toEqual(["three"]);
  const reply = await gateway.request("/v1/apps/talk/logs?follow=true&tail=1&function=f");
  const reader = reply.body!.getReader();
  const read = async () => JSON.parse(Buffer.from((await reader.read()).value!).toString()).text;
  expect(await read()).toBe("three");
  await gateway.deps.state.logs.append("talk", [line("hidden", "g"), line("four")]);
  expect(await read()).toBe("four");
  await reader.cancel();
});

it("describes every route it has, and shows its metrics and dashboard", async () => {
  const { paths } = await get("/openapi.json");
  const described = Object.entries(paths).flatMap(([path, verbs]) =>
    Object.keys(verbs as object).map((verb) => `${verb} ${path}`),
  );
  const routed = gateway.app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)(\{.*?\})?/g, "{$1}")}`);
  expect(described.sort()).toEqual(routed.sort());
  expect(await (await gateway.request("/metrics")).text()).toContain("fabric_http_replies_total");
  const page = await gateway.app.request("/");
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(await page.text()).not.toMatch(/<script>|onclick|style="/);
});

it("the sweep puts back what never reached the queue", async () => {
  await gateway.deploy("lost", [functionSpec("f")]);
  const { state, queue } = gateway.deps;
  const id = newId("inv");
  const call = {
    id,
    app: "lost",
    fn: "f",
    version: "1",
    encoding: "json" as const,
    input: Buffer.from("{}"),
    acceptPickle: false,
    timeoutMs: 1000,
    retries: 0,
  };
  await state.invocations.accept(call);
  expect(await queue.depth("lost/f")).toBe(0);
  const limits = { outboxAgeMs: -1, leaseMs: 15_000, queuedAgeMs: 60_000, mapIdleMs: 60_000, max: 10 };
  expect(await sweepOnce({ ...gateway.deps, state, queue, limits })).toBe(1);
  expect(await queue.depth("lost/f")).toBe(1);
  expect(await sweepOnce({ ...gateway.deps, state, queue, limits })).toBe(0);
});
