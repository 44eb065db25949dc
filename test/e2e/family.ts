/** Functions that call functions, told once and run on every engine: on a node with one cpu, in containers without network. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const OTHER = (answer: number): string => `
import fabric_sdk as fabric
app = fabric.App("cousin", memory=64, network="none")
@app.function()
def answer() -> int:
    return ${answer}
`;
/** Of 64 MiB each, five containers. */
const NODE = { FABRIC_NODE_CPU: "1", FABRIC_NODE_MEMORY_MB: "320", FABRIC_CANCEL_GRACE_MS: "2000" };

export function familySuite(engine: "docker" | "process"): void {
  let fabric: TestFabric;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fab-family-"));
    fabric = await startFabric({ engine, env: NODE });
    await fabric.json("deploy", "test/apps/family.py");
  });
  afterAll(async () => {
    await fabric?.close();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const call = async (fn: string, body: unknown = {}): Promise<any> => {
    const reply = await fabric.fetch(`/f/family/${fn}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { prefer: "wait=100" },
    });
    return { status: reply.status, body: await reply.json(), id: reply.headers.get("fabric-invocation")! };
  };
  const value = async (fn: string, body: unknown = {}): Promise<any> => {
    const { status, body: told } = await call(fn, body);
    expect({ status, told }).toMatchObject({ status: 200 });
    return told;
  };
  const spawn = async (fn: string, body: unknown, headers = {}): Promise<string> => {
    const reply = await fabric.fetch(`/v1/apps/family/functions/${fn}/invocations`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { prefer: "respond-async", ...headers },
    });
    return ((await reply.json()) as { id: string }).id;
  };
  /** The record below it, once that is in a container. */
  const below = (id: string): Promise<any> =>
    until(
      async () => {
        const [child] = (await fabric.record(id)).children ?? [];
        const record = child && (await fabric.record(child));
        return record?.container ? record : undefined;
      },
      60_000,
      `what ${id} called runs`,
    );

  test("a chain, a fan, coroutines, pickles and a class, beside their callers on one cpu", async () => {
    expect(await value("chain", { n: 3 })).toBe(12);
    expect(await value("fans", { n: 6 })).toEqual([0, 2, 4, 6, 8, 10]);
    expect(await value("gathers", { n: 6 })).toEqual([0, 2, 4, 6, 8, 10]);
    expect(await value("maps", { n: 40 })).toEqual(Array.from({ length: 40 }, (_, i) => 2 * i));
    expect(await value("stars", { n: 6 })).toEqual([0, 2, 4, 6, 8, 10]);
    expect(await value("collects", { n: 6 })).toEqual([0, 2, 4, 6, 8, 10]);
    expect(await value("streams", { n: 6 })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await value("carries", { n: 5 })).toBe(6);
    expect(await value("counts")).toBe(42);
  });

  test("an exception is raised in the caller, with the remote traceback", async () => {
    const [number, cause] = await value("catches");
    expect(number).toBe(7);
    expect(cause).toContain("in upset");
  });

  test("a function calls itself beyond max_containers, as deep as memory reaches, and fails beyond that", async () => {
    expect(await value("depth", { n: 3 })).toBe(3);
    const { status, body } = await call("depth", { n: 12 });
    expect(status).toBe(500);
    expect(body.error.message).toContain("call_deadlock");
    expect(await value("depth", { n: 1 })).toBe(1);
  });

  if (engine === "process")
    test("of two calls that wait for each other's key one fails, and the other goes on", async () => {
      // Takes no room, since it never begins.
      const gate = await spawn("nap", { seconds: 0 }, { "fabric-delay": "3600" });
      const headers = { "fabric-key": "one" };
      const both = await Promise.all(["left", "right"].map((fn) => spawn(fn, { key: "one", gate }, headers)));
      for (const id of both)
        await until(async () => (await fabric.record(id)).state === "running", 60_000, `${id} has its key`);
      await fabric.cli("invocation", "cancel", gate);
      const records = await Promise.all(both.map((id) => fabric.ended(id, 60_000)));
      expect(records.map(({ state }) => state).sort()).toEqual(["failed", "succeeded"]);
      expect(records.find(({ state }) => state === "failed")!.error.message).toContain("call_deadlock");
    });

  test("another app's function is its current version's", async () => {
    const file = join(folder, "cousin.py");
    for (const answer of [1, 2]) {
      await writeFile(file, OTHER(answer));
      await fabric.json("deploy", file);
      expect(await value("asks", ["cousin", "answer"])).toBe(answer);
    }
    const { body } = await call("asks", ["cousin", "nothing"]);
    expect(body.error.message).toContain("function_not_found");
  });

  test("cancel ends the whole tree, which the CLI shows with its logs", async () => {
    const id = await spawn("grandparent", { seconds: 100 });
    const middle = await below(id);
    const leaf = await below(middle.id);
    expect(leaf).toMatchObject({ parent: middle.id, root: id, function: "nap" });
    const listed = await fabric.json<any>("invocation", "list", "--parent", id);
    expect(JSON.stringify(listed)).toContain(middle.id);
    expect((await fabric.cli("invocation", "cancel", id)).code).toBe(0);
    for (const one of [id, middle.id, leaf.id])
      expect(await fabric.ended(one, 20_000)).toMatchObject({ state: "cancelled" });
    const root = await spawn("chain", { n: 21 });
    await fabric.ended(root);
    const printed = await until(
      async () => {
        const { stdout } = await fabric.cli("logs", root, "--tree");
        return stdout.includes("doubling 21") && stdout;
      },
      20_000,
      "the line of the call below is there",
    );
    expect(printed).not.toContain("doubling 3\n");
    expect((await fabric.cli("logs", root)).stdout).not.toContain("doubling");
  });

  test("a runner that is killed while calls are awaited makes none of them twice", async () => {
    const id = await spawn("naps", { seconds: 8 });
    const child = await below(id);
    await fabric.kill9("runner");
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 1, children: [child.id] });
    expect(await fabric.record(child.id)).toMatchObject({ state: "succeeded", attempts: 1 });
  });
}
