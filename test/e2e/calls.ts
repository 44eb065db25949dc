/** What users do with a deployed app, told once and run on every engine. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const PROBE = "test/apps/probe.py";

export function callsSuite(engine: "docker" | "process"): void {
  let fabric: TestFabric;
  beforeAll(async () => {
    fabric = await startFabric({ engine, env: { FABRIC_CANCEL_GRACE_MS: "1000" } });
    const deployed = await fabric.json<{ version: string }>("deploy", PROBE);
    expect(deployed.version).toBe("1");
  });
  afterAll(() => fabric?.close());

  describe("calling", () => {
    test("named, positional and absent arguments; async functions; plain results", async () => {
      expect((await fabric.call("add", { a: 1, b: 2 })).body).toBe(3);
      expect((await fabric.call("add", [5])).body).toBe(6);
      expect((await fabric.call("noop")).body).toBe(null);
      expect((await fabric.call("aecho", { value: { deep: ["ünï", 1.5, null, true] } })).body).toEqual({
        deep: ["ünï", 1.5, null, true],
      });
    });

    test("every reply says where its time went", async () => {
      const { headers } = await fabric.call("noop");
      const timing = headers.get("server-timing") ?? "";
      for (const part of ["queue", "place", "boot", "enter", "run", "store"]) expect(timing).toContain(`${part};dur=`);
      expect(headers.get("fabric-invocation")).toMatch(/^inv_/);
    });

    test("large arguments and results go by the bucket and come back whole", async () => {
      const value = "y".repeat(3_000_000);
      const { status, body } = await fabric.call("echo", { value });
      expect(status).toBe(200);
      expect(body === value).toBe(true);
      expect((await fabric.call("big", { size: 20_000 })).body).toHaveLength(20_000);
    });

    test("a generator's values come as they are yielded, and are there to be read again", async () => {
      const headers = { accept: "application/x-ndjson" };
      const body = JSON.stringify({ n: 2000, size: 1000 });
      const reply = await fabric.fetch("/f/probe/counts", { method: "POST", body, headers });
      const again = await fabric.fetch(`/v1/invocations/${reply.headers.get("fabric-invocation")}/events`, { headers });
      for (const text of await Promise.all([reply.text(), again.text()])) {
        const lines = text.split("\n").filter((line) => line.startsWith('{"type":"chunk"'));
        expect(lines.map((line) => JSON.parse(line).value.n)).toEqual(Array.from({ length: 2000 }, (_, i) => i));
      }
    });

    test("respond-async, status, result and a wait that ends early", async () => {
      const id = await fabric.spawn("nap", { seconds: 0.5 });
      expect(["queued", "running"]).toContain((await fabric.record(id)).state);
      const early = await fabric.fetch(`/v1/invocations/${id}/result`, { headers: { prefer: "wait=0" } });
      expect(early.status).toBe(202);
      expect(early.headers.get("location")).toBe(`/v1/invocations/${id}`);
      const late = await fabric.fetch(`/v1/invocations/${id}/result`, { headers: { prefer: "wait=30" } });
      expect(await late.json()).toMatchObject({ id, state: "succeeded", result: "slept" });
    });

    test("an idempotency key makes one call of many", async () => {
      const send = (body: unknown) =>
        fabric.fetch("/v1/apps/probe/functions/add/invocations", {
          method: "POST",
          body: JSON.stringify(body),
          headers: { "content-type": "application/json", "idempotency-key": "once" },
        });
      const replies = await Promise.all([1, 2, 3].map(() => send({ a: 1 })));
      const ids = await Promise.all(replies.map(async (reply) => ((await reply.json()) as any).id));
      expect(new Set(ids).size).toBe(1);
      const other = await send({ a: 2 });
      expect(other.status).toBe(409);
      expect(await other.json()).toMatchObject({ error: { code: "idempotency_mismatch" } });
    });
  });

  describe("failing", () => {
    test("an exception comes back with type, message and the user's own traceback", async () => {
      const { status, body } = await fabric.call("boom", { message: "seven" });
      expect(status).toBe(500);
      expect(body.error).toMatchObject({ code: "exception", fault: "user", retryable: false });
      expect(body.error.message).toContain("seven");
      expect(body.error.details.type).toContain("ValueError");
      expect(body.error.details.traceback).toContain("probe.py");
      expect(body.error.details.traceback).not.toContain("_shim");
    });

    test.each([
      ["leaves", {}, "exited"],
      ["dies", { code: 9 }, "container_crashed"],
      ["segfaults", {}, "container_crashed"],
      ["eats", {}, "out_of_memory"],
      ["slow", {}, "timed_out"],
      ["unserializable", {}, "result_not_serializable"],
    ])("%s %j ends as %s", async (fn, body, code) => {
      const reply = await fabric.call(fn, body);
      expect(reply.body?.error?.code).toBe(code);
      expect(reply.body.error.message.length).toBeGreaterThan(10);
    });

    test("SystemExit and an exception leave the container alive", async () => {
      const before = (await fabric.call("whoami")).body.pid;
      await fabric.call("leaves");
      expect((await fabric.call("whoami")).body.pid).toBe(before);
    });

    test("retries run until one succeeds, and each sees what the one before saved", async () => {
      const id = await fabric.spawn("flaky");
      const record = await fabric.ended(id);
      expect(record).toMatchObject({ state: "succeeded", attempts: 3, userFaults: 2 });
    });

    test("cancel ends a queued or running call", async () => {
      const id = await fabric.spawn("nap", { seconds: 60 });
      await until(async () => (await fabric.record(id)).state === "running", 30_000, "it runs");
      const reply = await fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" });
      expect(reply.status).toBe(200);
      expect(await fabric.ended(id)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
      const again = await fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" });
      expect(again.status).toBe(409);
    });
  });

  describe("logs", () => {
    test("what a function prints is found by its invocation", async () => {
      const { headers } = await fabric.call("speaks", { words: "good evening" });
      const id = headers.get("fabric-invocation")!;
      const lines = await until(
        async () => {
          const result = await fabric.cli("logs", "probe", "--invocation", id);
          return result.stdout.includes("to stderr") ? result.stdout : undefined;
        },
        10_000,
        "the lines arrive",
      );
      expect(lines).toContain("good evening");
    });
  });

  describe("python", () => {
    test("remote, spawn and exceptions as themselves", async () => {
      const dir = await mkdtemp(join(tmpdir(), "fabric-py-"));
      await writeFile(
        join(dir, "client.py"),
        `
import fabric_sdk as fabric
add = fabric.Function.from_name("probe", "add")
assert add.remote(2, b=3) == 5
assert add.spawn(1).get(timeout=30) == 2
echo = fabric.Function.from_name("probe", "echo")
import datetime
when = datetime.datetime(2020, 1, 2)
assert echo.remote({"a": (1, 2), "when": when}) == {"a": (1, 2), "when": when}
try:
    fabric.Function.from_name("probe", "boom").remote("eight")
except ValueError as error:
    assert "eight" in str(error)
    import traceback
    assert "probe.py" in "".join(traceback.format_exception(type(error), error, error.__traceback__))
else:
    raise SystemExit("no ValueError")
print("fine")
`,
      );
      const result = await run("python3", [join(dir, "client.py")], {
        ...fabric.env,
        PYTHONPATH: join(process.cwd(), "sdk/python/src"),
      });
      await rm(dir, { recursive: true });
      expect(result.stderr).toBe("");
      expect(result.stdout).toBe("fine\n");
    });
  });

  describe("checkpoints", () => {
    test("are plain files with a manifest, read by HTTP with ranges and redirects, and pulled whole", async () => {
      const id = await fabric.spawn("trains", { epochs: 3, series: "plain" });
      expect((await fabric.ended(id)).state).toBe("succeeded");
      const { checkpoints } = (await (await fabric.fetch("/v1/checkpoints/plain")).json()) as any;
      expect(checkpoints.map((one: any) => one.metrics.epoch)).toEqual([0, 1, 2]);
      const step = checkpoints[2].step;
      const file = `/v1/checkpoints/plain/${step}/files/deep/weights.bin`;
      const part = await fabric.fetch(file, { headers: { range: "bytes=10-19" } });
      expect(part.status).toBe(206);
      expect(Buffer.from(await part.arrayBuffer())).toEqual(Buffer.alloc(10, 2));
      const redirect = await fabric.fetch(`${file}?redirect=true`, { redirect: "manual" });
      expect(redirect.status).toBe(307);
      const presigned = await fetch(redirect.headers.get("location")!);
      expect((await presigned.arrayBuffer()).byteLength).toBe(100_000);
      const dir = await mkdtemp(join(tmpdir(), "fabric-pull-"));
      const pulled = await fabric.cli("checkpoint", "pull", "plain", join(dir, "out"));
      expect(pulled.stderr + pulled.stdout).toContain("2");
      expect(pulled.code).toBe(0);
      const names = await readdir(join(dir, "out"), { recursive: true });
      expect(names).toContain("epoch.txt");
      expect(await readFile(join(dir, "out", "epoch.txt"), "utf8")).toBe("2");
      await rm(dir, { recursive: true });
    });

    test("a new call on the same series resumes where the last one ended", async () => {
      const first = await fabric.call("trains", { epochs: 2, series: "again" });
      expect(first.body).toEqual([0, 1]);
      const second = await fabric.call("trains", { epochs: 4, series: "again" });
      expect(second.body).toEqual([2, 3]);
    });
  });

  describe("deploying", () => {
    test("without a change makes no version; with one, new calls run it and rollback goes back", async () => {
      const same = await fabric.json<{ version: string; unchanged: boolean }>("deploy", PROBE);
      expect(same).toMatchObject({ version: "1", unchanged: true });
      const dir = await mkdtemp(join(tmpdir(), "fabric-app-"));
      const app = join(dir, "tiny.py");
      const source = (value: number) =>
        `import fabric_sdk as fabric\napp = fabric.App("tiny")\n\n@app.function()\ndef value():\n    return ${value}\n`;
      const ask = async () => (await fabric.fetch("/f/tiny/value", { method: "POST" })).json();
      await writeFile(app, source(1));
      await fabric.json("deploy", app);
      expect(await ask()).toBe(1);
      await writeFile(app, source(2));
      expect(await fabric.json("deploy", app)).toMatchObject({ version: "2" });
      expect(await ask()).toBe(2);
      await fabric.json("app", "rollback", "tiny");
      await until(async () => (await ask()) === 1, 10_000, "the first version answers");
      await fabric.json("app", "delete", "tiny");
      await until(
        async () => (await fabric.fetch("/f/tiny/value", { method: "POST" })).status === 404,
        10_000,
        "it is gone",
      );
      await rm(dir, { recursive: true });
    });

    test("a module that does not import inside its container fails the call with its traceback", async () => {
      const dir = await mkdtemp(join(tmpdir(), "fabric-app-"));
      await writeFile(
        join(dir, "broken.py"),
        `import os\nimport fabric_sdk as fabric\napp = fabric.App("broken")\nif "FABRIC_CONTAINER" in os.environ:\n    raise RuntimeError("not here")\n\n@app.function()\ndef f():\n    return 1\n`,
      );
      await fabric.json("deploy", join(dir, "broken.py"));
      const reply = await fabric.fetch("/f/broken/f", { method: "POST" });
      expect(await reply.json()).toMatchObject({
        error: { code: "import_failed", message: expect.stringContaining("not here") },
      });
      await rm(dir, { recursive: true });
    });
  });

  describe("bad input", () => {
    test.each([
      ["/f/nope/f", "{}", 404, "app_not_found"],
      ["/f/probe/nope", "{}", 404, "function_not_found"],
      ["/f/probe/add", "{", 400, "invalid_json"],
      ["/f/probe/add", "{}", 422, "invalid_arguments"],
      ["/f/probe/add", '{"a":1,"c":2}', 422, "invalid_arguments"],
      ["/f/probe/echo", "[".repeat(200) + "]".repeat(200), 400, "body_too_deep"],
      ["/v1/apps/probe/functions/add/invocations?version=99", '{"a":1}', 404, "version_not_found"],
    ])("%s %s -> %i %s", async (path, body, status, code) => {
      const reply = await fabric.fetch(path, { method: "POST", body, headers: { "content-type": "application/json" } });
      expect(await reply.json()).toMatchObject({ error: { code } });
      expect(reply.status).toBe(status);
    });

    test("no token, no answer", async () => {
      expect((await fetch(`${fabric.url}/v1/apps`)).status).toBe(401);
      expect((await fetch(`${fabric.url}/healthz`)).status).toBe(200);
    });
  });

  test("user code sees no keys of fabric, and in a container it is not root", async () => {
    const { body } = await fabric.call("whoami");
    expect(body.env.join(" ")).not.toMatch(/SECRET|TOKEN|REDIS|AWS/);
    if (engine === "docker") expect(body.uid).not.toBe(0);
  });
}
