/** A person asks why a call is where it is: by the CLI, of a running fabric, in each state a call can wait in. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const SOURCE = `
import time
import fabric_sdk as fabric
app = fabric.App("wait")
@app.function(max_containers=1)
def nap(seconds: float):
    time.sleep(seconds)
@app.function(retries=1)
def boom():
    print("about to fail")
    raise ValueError("no such digit")
@app.function(cpu=3)
def wide(seconds: float):
    time.sleep(seconds)
`;
let fabric: TestFabric;
let folder: string;

beforeAll(async () => {
  fabric = await startFabric({ engine: "process", env: { FABRIC_NODE_CPU: "4", FABRIC_LEASE_MS: "4000" } });
  folder = await mkdtemp(join(tmpdir(), "wait-"));
  await writeFile(join(folder, "wait.py"), SOURCE);
  await fabric.json("deploy", join(folder, "wait.py"));
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

async function spawn(fn: string, body: object = {}): Promise<string> {
  const reply = await fabric.fetch(`/v1/apps/wait/functions/${fn}/invocations`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", prefer: "respond-async" },
  });
  expect(reply.headers.get("server-timing")).toBeDefined();
  return ((await reply.json()) as { id: string }).id;
}
const explained = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await fabric.cli("explain", ...args);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
};
const reason = (id: string, wanted: RegExp) =>
  until(
    async () => {
      const { reason: told } = await fabric.record(id);
      return wanted.test(told ?? "") && (told as string);
    },
    15_000,
    `${id}: ${wanted}`,
  );
const cancel = (ids: string[]) =>
  Promise.all(ids.map((id) => fabric.fetch(`/v1/invocations/${id}/cancel`, { method: "POST" })));

test("a place in the queue and an estimate, from what inputs took before", async () => {
  await fabric.ended(await spawn("nap", { seconds: 0.4 }));
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.push(await spawn("nap", { seconds: 30 }));
  await reason(ids[0]!, /^running in con_\w+ for /);
  await reason(ids[4]!, /^waiting for a slot: 1\/1 busy, 3 ahead, about .* \(inputs take \d+ ms\)/);
  const text = await explained(ids[4]!);
  expect(text).toMatch(/^wait\/nap is queued: waiting for a slot: 1\/1 busy, 3 ahead/);
  expect(text).toContain("place in the queue: 3 ahead");
  expect(text).toMatch(/it runs in about \d/);
  expect(text).toMatch(/nod_\w+: .* free\n {6}1 containers of wait\/nap/);
  const top = await fabric.json<{ functions: { function: string; queued: number; running: number }[] }>("top");
  expect(top.functions).toContainEqual(expect.objectContaining({ function: "wait/nap", queued: 4, running: 1 }));
  expect((await fabric.cli("top")).stdout).toMatch(/wait\/nap +4 +1\/1 +1 /);
  await cancel(ids);
  await Promise.all(ids.map((id) => fabric.ended(id)));
});

test("what a node lacks, and who holds it", async () => {
  const first = await spawn("wide", { seconds: 30 });
  await reason(first, /^running in/);
  const second = await spawn("wide", { seconds: 1 });
  const told = await reason(second, /no cpu/);
  expect(told).toMatch(
    /^waiting for a slot: 1\/1 busy, next in line, .*; no further container: no cpu: 3 asked, \S+ free on nod_\w+$/,
  );
  const text = await explained(second);
  expect(text).toContain("per container: 3 cpu, 512 MiB");
  expect(text).toMatch(/1 containers of wait\/wide/);
  await cancel([first, second]);
  await Promise.all([first, second].map((id) => fabric.ended(id)));
});

test("a retry that waits, and the verdict of a call that failed", async () => {
  const id = await spawn("boom");
  await reason(id, /retry 1 of 1 in 1.0 s after .*no such digit; .* left/);
  await fabric.ended(id);
  const text = await until(
    async () => {
      const all = await explained(id);
      return (all.match(/about to fail/g)?.length ?? 0) === 2 && all;
    },
    10_000,
    "its lines have arrived",
  );
  expect(text).toMatch(/^wait\/boom failed after .* in 2 attempts: ValueError: no such digit\n/);
  expect(text).toContain("at fault: the function or its caller");
  expect(text).toMatch(
    /g1 {2}.* on nod_\w+ in con_\w+\n {6}queue .*\n {6}retry 1 of 1 .*\(charged to the user budget\)/,
  );
  expect(text).toMatch(/g2 {2}.*\n {6}queue .*run .*\n {6}failed: ValueError: no such digit/);
  expect(text).toContain("user faults: 1, retries allowed: 1");
  const story = await fabric.json<{ attempts: unknown[]; verdict: { help: string } }>("explain", id);
  expect(story.attempts).toHaveLength(2);
  expect(story.verdict.help).toContain("raised an exception");
  expect((await fabric.cli("explain", "inv_00000000000000000000000000")).code).toBe(4);
});

test("no node: says so, and what to do", async () => {
  const pid = await fabric.pid("runner");
  process.kill(pid, "SIGSTOP");
  try {
    const id = await spawn("nap", { seconds: 0 });
    // A node counts as gone after two leases.
    await until(
      async () => /no node is there: start a runner/.test((await fabric.record(id)).reason),
      45_000,
      "no node",
    );
    expect(await explained(id)).toContain("no node is there");
  } finally {
    process.kill(pid, "SIGCONT");
  }
});
