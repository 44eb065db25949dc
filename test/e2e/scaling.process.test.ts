/** How many containers a version has, and which of them a call goes to. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

let fabric: TestFabric;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fab-scaling-"));
  fabric = await startFabric({ engine: "process" });
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Listed {
  container: string;
  /** app/function */
  function: string;
}

const source = (app: string, answer: number, warm: number): string => `
import os, threading, time
import fabric_sdk as fabric

app = fabric.App("${app}", image=fabric.Image.python("3.11"), memory=64, network="none")

@app.function(min_containers=${warm}, scaledown_window=1)
def answer() -> list:
    return [${answer}, os.getpid()]

@app.function(timeout=60, scaledown_window=1)
def held(gate: str) -> int:
    while not os.path.exists(gate):
        time.sleep(0.01)
    return ${answer}

inside = 0
together = threading.Condition()

@app.function(timeout=60)
@fabric.concurrent(max_inputs=2)
def meets() -> int:
    """Answers only once another input is here at the same time."""
    global inside
    with together:
        inside += 1
        together.notify_all()
        if not together.wait_for(lambda: inside >= 2, timeout=20):
            raise RuntimeError("nobody else came")
    return os.getpid()
`;

async function deploy(app: string, answer: number, warm = 0): Promise<string> {
  const file = join(folder, `${app}.py`);
  await writeFile(file, source(app, answer, warm));
  return (await fabric.json<{ version: string }>("deploy", file)).version;
}

const call = async (fn: string, body: unknown = {}): Promise<any> => {
  const reply = await fabric.fetch(`/f/${fn}`, { method: "POST", body: JSON.stringify(body) });
  const told = await reply.json();
  expect({ status: reply.status, told }).toMatchObject({ status: 200 });
  return told;
};

async function spawn(fn: string, body: unknown = {}): Promise<string> {
  const [app, name] = fn.split("/");
  const reply = await fabric.fetch(`/v1/apps/${app}/functions/${name}/invocations`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { prefer: "respond-async" },
  });
  return ((await reply.json()) as { id: string }).id;
}

async function containers(fn: string): Promise<Listed[]> {
  const { containers } = (await (await fabric.fetch("/v1/containers")).json()) as { containers: Listed[] };
  return containers.filter((one) => one.function === fn);
}

const count = (fn: string, wanted: number): Promise<true | undefined> =>
  until(
    async () => ((await containers(fn)).length === wanted ? (true as const) : undefined),
    30_000,
    `${fn} has ${wanted} containers`,
  );

test("min_containers are there before the first call, stay without calls, and go with the setting", async () => {
  await deploy("warm", 1, 2);
  await count("warm/answer", 2);
  const [, pid] = await call("warm/answer");
  const enough = performance.now() + 3_000; // three times its scaledown window
  await until(() => performance.now() > enough, 10_000, "the window passes");
  expect(await containers("warm/answer")).toHaveLength(2);
  process.kill(pid, "SIGKILL");
  await until(async () => (await call("warm/answer"))[1] !== pid, 20_000, "another container answers");
  await count("warm/answer", 2);
  await deploy("warm", 2, 0);
  await count("warm/answer", 0);
});

test("a running call of the old version ends while new calls go to the new one", async () => {
  expect(await deploy("moves", 1)).toBe("1");
  const gate = join(folder, "gate");
  const old = await spawn("moves/held", { gate });
  await until(async () => (await fabric.record(old)).state === "running", 30_000, "it runs");
  expect(await deploy("moves", 2)).toBe("2");
  expect(await call("moves/held", { gate: folder })).toBe(2);
  expect(await fabric.record(old)).toMatchObject({ state: "running", version: "1" });
  await writeFile(gate, "");
  expect(await fabric.ended(old)).toMatchObject({ state: "succeeded", attempts: 1, version: "1" });
  const { result } = (await (await fabric.fetch(`/v1/invocations/${old}/result`)).json()) as any;
  expect(result).toBe(1);
  await count("moves/held", 0);
});

test("max_inputs: two inputs are in one container at the same time", async () => {
  await deploy("meet", 1);
  const ids = await Promise.all([spawn("meet/meets"), spawn("meet/meets")]);
  const records = await Promise.all(ids.map((id) => fabric.ended(id)));
  expect(records.map(({ state }) => state)).toEqual(["succeeded", "succeeded"]);
  expect(records[0].container).toBe(records[1].container);
});
