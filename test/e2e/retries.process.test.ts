/** When an input runs: later, not too late, at most once, again; as a user sees it over HTTP, Python and the command line. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fabric-retries-"));
  fabric = await startFabric({ engine: "process", env: { FABRIC_CANCEL_GRACE_MS: "500", FABRIC_LEASE_MS: "3000" } });
  await fabric.json("deploy", "test/apps/retries.py");
});
afterAll(async () => {
  await fabric?.close();
  await rm(dir, { recursive: true, force: true });
});

interface Sent {
  status: number;
  body: any;
}
async function call(fn: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Sent> {
  const reply = await fabric.fetch(`/v1/apps/retries/functions/${fn}/invocations`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
  return { status: reply.status, body: await reply.json() };
}
const spawn = async (fn: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<string> => {
  const sent = await call(fn, body, { prefer: "respond-async", ...headers });
  expect(sent.status).toBe(202);
  return sent.body.id;
};
const cancel = (id: string) => fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" });
const runs = async (path: string) => (existsSync(path) ? (await readFile(path, "utf8")).split("\n").length - 1 : 0);

describe("retries", () => {
  test("wait longer each time, say so, and come within 50 ms of their time or so", async () => {
    const id = await spawn("backs_off");
    const reasons = new Set<string>();
    const record = await until(
      async () => {
        const now = await fabric.record(id);
        if (now.state === "queued" && now.dueAt) reasons.add(now.reason.split("; ")[0]);
        return now.finishedAt && now;
      },
      20_000,
      "it succeeds",
    );
    expect(record).toMatchObject({ state: "succeeded", attempts: 4, userFaults: 3 });
    expect([...reasons]).toEqual([
      "retry 1 of 3 in 0.3 s after ValueError: not yet",
      "retry 2 of 3 in 0.6 s after ValueError: not yet",
      "retry 3 of 3 in 1.2 s after ValueError: not yet",
    ]);
    const { result } = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    for (const [index, expected] of [0.3, 0.6, 1.2].entries()) {
      expect(result[index]).toBeGreaterThanOrEqual(expected);
      expect(result[index]).toBeLessThan(expected + 0.25);
    }
  });

  test("are for the classes the policy names, judged in the container", async () => {
    expect(await fabric.ended(await spawn("picky", { what: "weather" }))).toMatchObject({ attempts: 3, userFaults: 2 });
    expect(await fabric.ended(await spawn("picky", { what: "value" }))).toMatchObject({
      ...{ state: "failed", attempts: 1, error: { code: "exception" } },
    });
  });

  test("that wait are cancelled at once", async () => {
    const id = await spawn("now", {}, { "fabric-delay": "60" });
    expect(await fabric.record(id)).toMatchObject({ state: "queued", reason: expect.stringMatching(/^due in 60 s/) });
    expect((await cancel(id)).status).toBe(200);
    expect(await fabric.record(id)).toMatchObject({ state: "cancelled" });
  });
});

describe("calls", () => {
  test("run when they are due", async () => {
    await call("now");
    const before = Date.now() / 1000;
    const { body } = await call("now", {}, { "fabric-delay": "0.8" });
    expect(body.result - before).toBeGreaterThanOrEqual(0.8);
    expect(body.result - before).toBeLessThan(1.1);
  });

  test("survive a crash of gateway, runner and Redis while they wait", async () => {
    const id = await spawn("echo", { value: 7 }, { "fabric-delay": "6" });
    for (const child of ["gateway", "runner", "redis"] as const) await fabric.kill9(child);
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
  });

  test("end when they wait too long, with a runner and without, by the function's or the call's word", async () => {
    const first = await spawn("impatient", { seconds: 2 });
    await until(async () => (await fabric.record(first)).state === "running", 20_000, "it runs");
    const error = { code: "queue_expired", fault: "user" };
    const late = await spawn("impatient");
    const patient = await spawn("impatient", {}, { "fabric-ttl": "30" });
    expect(await fabric.ended(late)).toMatchObject({ state: "failed", attempts: 0, error });
    expect(await fabric.ended(patient)).toMatchObject({ state: "succeeded" });
    const { status, body } = await call("echo", { value: 1 }, { "fabric-ttl": "0.001", "fabric-delay": "0.2" });
    if (status !== 200) expect({ status, body }).toMatchObject({ status: 504, body: { error } });
  });

  test("with a debounce are one invocation with the last arguments, waited for by all", async () => {
    const headers = { "fabric-debounce": "0.6", "fabric-debounce-key": "user-1" };
    const large = "x".repeat(20_000);
    const all = await Promise.all(["a", large, "b"].map((value) => call("echo", { value }, headers)));
    expect(new Set(all.map(({ body }) => body.id)).size).toBe(1);
    expect(new Set(all.map(({ body }) => body.result)).size).toBe(1);
    const id = await spawn("echo", { value: "first" }, headers);
    expect(id).not.toBe(all[0]!.body.id);
    expect(await spawn("echo", { value: large }, headers)).toBe(id);
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1 });
    const result = (await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as any;
    expect(result.result).toBe(large);
  });

  test.each([
    [{ "fabric-delay": "soon" }, 'fabric-delay is "soon"; it must be seconds'],
    [{ "fabric-ttl": "-1" }, 'fabric-ttl is "-1"; it must be seconds'],
    [{ "fabric-debounce-key": "k" }, "fabric-debounce-key"],
  ])("with %j are refused and leave nothing behind", async (headers, message) => {
    const { status, body } = await call("now", {}, headers);
    expect(status).toBe(400);
    expect(body.error).toMatchObject({ code: "bad_request", message: expect.stringContaining(message) });
  });

  test("made by functions take their options, too", async () => {
    const { body } = await call("calls_later");
    expect(body.result).toBeGreaterThanOrEqual(0.5);
    expect(body.result).toBeLessThan(1);
  });

  test("take their options from Python and the command line", async () => {
    await writeFile(
      join(dir, "client.py"),
      `
import time
import fabric_sdk as fabric
now = fabric.Function.from_name("retries", "now")
before = time.time()
assert now.with_call_options(delay=0.7).remote() - before >= 0.7
echo = fabric.Function.from_name("retries", "echo")
calm = echo.with_call_options(debounce=0.5, debounce_key="python")
first, last = calm.spawn(1), calm.spawn(2)
assert first.id == last.id and first.get(timeout=20) == 2
keyed = echo.with_call_options(idempotency_key="python")
assert keyed.spawn(1).id == keyed.spawn(1).id
try:
    now.with_call_options(ttl=0.05, delay=0.05).spawn().get(timeout=20)
except fabric.FunctionError as error:
    assert error.code == "queue_expired"
print("fine")
`,
    );
    const env = { ...fabric.env, PYTHONPATH: join(process.cwd(), "sdk/python/src") };
    expect(await run("python3", [join(dir, "client.py")], env)).toMatchObject({ stdout: "fine\n", stderr: "" });
    const before = Date.now() / 1000;
    const late = await fabric.cli("invoke", "retries/now", "--delay", "0.5", "--ttl", "30");
    expect(Number(late.stdout) - before).toBeGreaterThanOrEqual(0.5);
  });
});

describe("at most once", () => {
  test.each([
    ["raise", "exception"],
    ["crash", "container_crashed"],
  ])("a function that does %s runs once", async (how, code) => {
    const path = join(dir, `once-${how}`);
    const record = await fabric.ended(await spawn("once", { path, how }));
    expect(record).toMatchObject({ state: "failed", attempts: 1, error: { code } });
    expect(await runs(path)).toBe(1);
  });

  test("one whose runner dies and whose container is killed meanwhile is not run again", async () => {
    const path = join(dir, "once-lost");
    const id = await spawn("once", { path, how: "sleep" });
    await until(async () => (await runs(path)) === 1, 20_000, "it runs");
    const pid = Number(await readFile(path, "utf8"));
    await fabric.kill9("runner");
    process.kill(pid, "SIGKILL");
    expect(await fabric.ended(id)).toMatchObject({ state: "failed", attempts: 1, error: { fault: "platform" } });
    expect(await runs(path)).toBe(1);
  });

  test("beside retries is refused when the app is described", async () => {
    const app = join(dir, "wrong.py");
    await writeFile(
      app,
      'import fabric_sdk as fabric\napp = fabric.App("wrong")\n\n@app.function(at_most_once=True, retries=1)\ndef f():\n    pass\n',
    );
    const { code, stderr } = await fabric.cli("deploy", app);
    expect(code).toBe(1);
    expect(stderr).toContain("retries is 1; it must be 0 beside at_most_once");
  });
});

describe("what failed", () => {
  test("is listed and redriven on the current version, alone and in numbers, once", async () => {
    const path = join(dir, "there");
    const ids = [
      await spawn("fails_until", { path }),
      await spawn("fails_until", { path: `${path}${" ".repeat(9_000)}` }),
    ];
    for (const id of ids) expect(await fabric.ended(id)).toMatchObject({ state: "failed" });
    const filter = ["--app", "retries", "--function", "fails_until"];
    const { invocations } = await fabric.json<any>("invocation", "list", "--state", "failed", ...filter);
    expect(invocations.map(({ id }: any) => id).sort()).toEqual([...ids].sort());
    await writeFile(path, "");
    const first = await fabric.cli("invocation", "redrive", ids[0]!);
    expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(new RegExp(`^${ids[0]} -> inv_`)) });
    const next = first.stdout.trim().split(" ").at(-1)!;
    expect(await fabric.ended(next)).toMatchObject({ state: "succeeded", redrivenFrom: ids[0] });
    expect(await fabric.record(ids[0]!)).toMatchObject({ redrivenAs: next });
    expect((await fabric.cli("invocation", "redrive", ids[0]!)).stdout).toBe(
      `${ids[0]} -> ${next} (redriven before)\n`,
    );
    const rest = await fabric.json<any>("invocation", "redrive", ...filter, "--since", "10m");
    expect(rest.redriven).toMatchObject([{ from: ids[1], created: true }]);
    expect(await fabric.ended(rest.redriven[0].id)).toMatchObject({ state: "failed", redrivenFrom: ids[1] });
  });

  test("and what did not cannot be redriven, nor what has no input any more", async () => {
    const { body } = await call("echo", { value: 1 });
    const done = await fabric.fetch(`/v1/invocations/${body.id}/redrive`, { method: "POST" });
    expect({ status: done.status, body: await done.json() }).toMatchObject({
      ...{ status: 409, body: { error: { code: "invocation_not_failed" } } },
    });
    const unknown = `inv_${"0".repeat(26)}`;
    expect((await fabric.fetch(`/v1/invocations/${unknown}/redrive`, { method: "POST" })).status).toBe(404);
  });
});

describe("cancel", () => {
  test.each(["stubborn", "stubborn_thread", "stubborn_coroutine"])(
    "ends %s, which ignores it, after the grace",
    async (fn) => {
      const id = await spawn(fn);
      await until(async () => (await fabric.record(id)).startedAt, 20_000, "it runs");
      const asked = performance.now();
      expect((await cancel(id)).status).toBe(200);
      expect(await fabric.ended(id)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
      expect(performance.now() - asked).toBeGreaterThanOrEqual(450);
      expect(performance.now() - asked).toBeLessThan(5_000);
    },
  );
});
