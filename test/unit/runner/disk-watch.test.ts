import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import type { FabricError } from "../../../core/errors.ts";
import { diskUsage, watchDisk } from "../../../runner/disk-watch.ts";
import { startTestRunner } from "./fixture.ts";

const MIB = 1024 * 1024;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function watched(usage: () => Promise<number>) {
  const clock = manualClock();
  const told: FabricError[] = [];
  const onFull = (error: FabricError): void => void told.push(error);
  const log = pino({ level: "silent" });
  const stop = watchDisk({ folder: "/x", limitBytes: 10 * MIB, clock, log, onFull, usage });
  return { clock, told, stop };
}

describe("watchDisk", () => {
  it("tells once when the folder has outgrown its limit", async () => {
    let used = 10 * MIB;
    const { clock, told } = watched(async () => used);
    clock.advance(5_000);
    await settled();
    expect(told).toEqual([]);
    used = 11 * MIB;
    clock.advance(5_000);
    await settled();
    clock.advance(60_000);
    await settled();
    expect(told.map(({ code, message }) => `${code}: ${message}`)).toEqual([
      "disk_full: scratch holds 11 MiB; ephemeral_disk is 10 MiB",
    ]);
  });

  it("looks again after a failure, and less often when looking takes long", async () => {
    let looks = 0;
    let giveUp = (): void => {};
    const { clock } = watched(() => {
      looks++;
      return new Promise((_, reject) => (giveUp = () => reject(new Error("no du"))));
    });
    clock.advance(5_000);
    clock.advance(1_000);
    giveUp();
    await settled();
    clock.advance(19_000);
    await settled();
    expect(looks).toBe(1);
    clock.advance(1_000);
    await settled();
    expect(looks).toBe(2);
  });

  it("is silent once it was stopped", async () => {
    const { clock, told, stop } = watched(async () => 99 * MIB);
    clock.advance(5_000);
    stop();
    await settled();
    expect(told).toEqual([]);
  });
});

describe("diskUsage", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "disk-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("counts what lies in the folder, and does not follow links out of it", async () => {
    await writeFile(join(folder, "two"), Buffer.alloc(2 * MIB, 1));
    await symlink("/usr", join(folder, "usr"));
    const used = await diskUsage(folder);
    expect(used).toBeGreaterThanOrEqual(2 * MIB);
    expect(used).toBeLessThan(3 * MIB);
  });
});

describe("a function with ephemeral_disk", () => {
  const SOURCE = `
import os, time
def fills(mib):
    with open("data", "wb") as file:
        for _ in range(mib): file.write(os.urandom(1 << 20))
    time.sleep(20)
`;
  let t: Awaited<ReturnType<typeof startTestRunner>>;
  beforeAll(async () => {
    t = await startTestRunner(SOURCE, { fills: { ephemeral_disk: 4 } });
  });
  afterAll(() => t.close());

  it("fails with disk_full, for which its user answers", async () => {
    const { state, error, attempts } = await t.ended(await t.call("fills", [6]));
    expect({ state, attempts }).toEqual({ state: "failed", attempts: 1 });
    expect(error).toMatchObject({ code: "disk_full", fault: "user" });
    expect(error!.message).toContain("ephemeral_disk is 4 MiB");
  });
});
