/** Logs as a user asks for them, of a running fabric whose archive is quick, and with a container that prints too much. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

const SOURCE = `
import sys, time
import fabric_sdk as fabric
app = fabric.App("talk")
@app.function()
def say(words: str, count: int = 1):
    for i in range(count): print(words, i)
    print("aside", file=sys.stderr)
@app.function()
def quiet(word: str):
    print(word)
`;
const BIN = fileURLToPath(new URL("../../bin/fabric.js", import.meta.url));
let fabric: TestFabric;
let folder: string;

beforeAll(async () => {
  fabric = await startFabric({
    engine: "process",
    env: { FABRIC_LOG_ARCHIVE_SECONDS: "1", FABRIC_LOG_LINES_PER_SECOND: "100" },
  });
  folder = await mkdtemp(join(tmpdir(), "talk-"));
  await writeFile(join(folder, "talk.py"), SOURCE);
  await fabric.json("deploy", join(folder, "talk.py"));
});
afterAll(async () => {
  await fabric?.close();
  await rm(folder, { recursive: true, force: true });
});

async function say(fn: string, body: object): Promise<string> {
  const reply = await fabric.fetch(`/v1/apps/talk/functions/${fn}/invocations`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
  expect(reply.status).toBe(200);
  return ((await reply.json()) as { id: string }).id;
}
const printed = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await fabric.cli("logs", ...args);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
};

test("by app, function, invocation, source, text and expression", async () => {
  const id = await say("say", { words: "loss", count: 12 });
  await say("quiet", { word: "other" });
  await until(async () => (await printed("talk")).includes("other"), 10_000, "the lines arrive");
  expect((await printed("talk/say")).match(/say loss/g)).toHaveLength(12);
  expect(await printed(id, "--source", "stderr")).toMatch(/^\d\d:\d\d:\d\d say aside\n$/);
  expect(await printed("talk", "--grep", "loss 1")).toMatch(/^.*loss 1\n.*loss 10\n.*loss 11\n$/);
  expect(await printed("talk", "--regex", "loss 1[01]$", "--tail", "1")).toMatch(/^.*loss 11\n$/);
  expect(await printed("talk", "--since", "1h", "--until", "30m")).toBe("");
  expect((await fabric.cli("logs", "talk", "--since", "soon")).code).toBe(2);
  expect((await fabric.cli("logs", "talk", "--regex", "(")).code).toBe(2);
  expect((await fabric.cli("logs", "inv_00000000000000000000000000")).code).toBe(4);
});

test("following goes on through a gateway that was killed, and prints nothing twice", async () => {
  const follower = spawn(process.execPath, [BIN, "logs", "talk/quiet", "-f", "--tail", "0"], { env: fabric.env });
  let out = "";
  follower.stdout.on("data", (data) => {
    out += data;
  });
  try {
    await until(
      async () => await say("quiet", { word: "before" }).then(() => out.includes("before")),
      15_000,
      "it follows",
    );
    await fabric.kill9("gateway");
    await say("quiet", { word: "after" });
    await until(() => out.includes("after"), 20_000, "it follows again");
    const lines = out.trim().split("\n");
    expect(lines.filter((line) => line.endsWith("after"))).toHaveLength(1);
  } finally {
    follower.kill();
  }
});

test("a container that prints too much loses its own lines, with a record of how many, and nobody else's", async () => {
  const id = await say("say", { words: "noise", count: 5_000 });
  await say("quiet", { word: "still here" });
  const text = await until(
    async () => {
      const all = await printed(id, "--tail", "20000");
      return all.includes("missing here") && all;
    },
    15_000,
    "the record arrives",
  );
  const lost = [...text.matchAll(/\((\d+) lines are missing here/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  const kept = text.split("\n").filter((line) => /noise|aside/.test(line)).length;
  expect(kept).toBeLessThan(1_000);
  expect(kept + lost).toBe(5_001);
  expect(await printed("talk/quiet")).toContain("still here");
});

test("the archive outlives Redis' copy", async () => {
  const before = await until(
    async () => {
      const all = await printed("talk", "--since", "1d");
      return all.includes("still here") && all;
    },
    10_000,
    "all lines are there",
  );
  const { redisPassword, ports } = JSON.parse(await readFile(join(fabric.dataDir, "state.json"), "utf8"));
  const redis = new Redis({ port: ports.redis, password: redisPassword });
  try {
    await until(async () => (await redis.zcard("fabric:logsopen")) === 0, 15_000, "all is archived");
    await redis.del("fabric:log:talk", "fabric:logfacts:talk");
  } finally {
    redis.disconnect();
  }
  expect(await printed("talk", "--since", "3d")).toBe(before);
});
