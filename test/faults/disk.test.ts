/** Redis' disk is full, or its file ends in the middle of a write: accepts are refused, and it goes on from what is there. */
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { run } from "../support/fabric.ts";
import { type FaultFabric, startFaultFabric } from "../support/fault-fabric.ts";
import { send } from "../support/load.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";

const SIZE_MB = 24;

async function tinyDisk(): Promise<{ dir: string; unmount(): Promise<void> } | { reason: string }> {
  const dir = await mkdtemp(join(tmpdir(), "fab-disk-"));
  const { code, stderr } = await run("mount", ["-t", "tmpfs", "-o", `size=${SIZE_MB}m`, "tmpfs", dir], process.env);
  if (code !== 0) {
    await rm(dir, { recursive: true });
    return { reason: `no small disk can be mounted here: ${stderr.trim()}` };
  }
  const unmount = async () => {
    await run("umount", [dir], process.env);
    await rm(dir, { recursive: true });
  };
  return { dir, unmount };
}

const disk = await tinyDisk();
const reason = "reason" in disk ? disk.reason : undefined;
if (reason) console.warn(`SKIPPED: ${reason}`);

describe.skipIf(reason)(`a small disk${reason ? ` (${reason})` : ""}`, () => {
  let redis: TestRedis;
  let fabric: FaultFabric;
  beforeAll(async () => {
    // One that syncs always ends when its disk is full.
    redis = await startRedis({ appendonly: true, fsync: "everysec", dir: "dir" in disk ? disk.dir : "" });
    fabric = await startFaultFabric({ env: { FABRIC_REDIS_URL: redis.url }, warm: ["nap", "fast"] });
  });
  afterAll(async () => {
    await fabric?.close();
    await redis?.close();
    if ("dir" in disk) await disk.unmount();
  });

  test("Redis' disk full: calls are refused by a code, what runs ends once there is space, and nothing is lost", async () => {
    const running = await fabric.ask("nap", { token: "during", seconds: 1, journal: fabric.journal });
    await fabric.running(running);
    const load = fabric.load(20, [{ fn: "fast", share: 1 }]);
    const ballast = join(redis.dir, "ballast");
    await writeFile(ballast, Buffer.alloc(SIZE_MB << 20)).catch((full: NodeJS.ErrnoException) =>
      expect(full.code).toBe("ENOSPC"),
    );
    const reply = await until(
      async () => {
        const sent = await send(fabric, { fn: "fast", token: "refused", journal: fabric.journal });
        return "refused" in sent ? sent.refused : undefined;
      },
      20_000,
      "a call is refused",
    );
    expect(reply).toBe("503 redis_unavailable");
    await rm(ballast);
    await fabric.works();
    expect(await fabric.ended(running)).toMatchObject({ state: "succeeded", attempts: 1 });
    await fabric.allHolds(load);
  });
});

describe("the redis-server of fabric up", () => {
  let fabric: FaultFabric;
  beforeAll(async () => {
    fabric = await startFaultFabric({ warm: ["nap", "fast"] });
  });
  afterAll(() => fabric?.close());

  test("its file torn in the last write: it starts again, and calls go on", async () => {
    const done = await fabric.ask("fast", { token: "done", journal: fabric.journal });
    await fabric.ended(done);
    const running = await fabric.ask("nap", { token: "torn", seconds: 3, journal: fabric.journal });
    await fabric.running(running);
    const before = await fabric.pid("redis");
    await withoutSupervisor(async () => {
      process.kill(before, "SIGKILL");
      const folder = join(fabric.dataDir, "redis", "appendonlydir");
      const file = join(
        folder,
        (await readdir(folder))
          .filter((name) => name.endsWith(".aof"))
          .sort()
          .at(-1)!,
      );
      await truncate(file, (await stat(file)).size - 7);
    });
    await until(async () => (await fabric.pid("redis").catch(() => before)) !== before, 30_000, "another Redis runs");
    await fabric.works();
    expect(await fabric.ended(running)).toMatchObject({ state: "succeeded", attempts: 1 });
    expect(await fabric.record(done)).toMatchObject({ state: "succeeded" });
  });

  /** It would start Redis again before its file is touched. */
  async function withoutSupervisor(act: () => Promise<void>): Promise<void> {
    const { supervisor } = JSON.parse(await readFile(join(fabric.dataDir, "running.json"), "utf8"));
    process.kill(supervisor.pid, "SIGSTOP");
    try {
      await act();
    } finally {
      process.kill(supervisor.pid, "SIGCONT");
    }
  }
});
