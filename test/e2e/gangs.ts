/** Gangs as their users see them, on either engine. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startFabric, type TestFabric } from "../support/fabric.ts";
import { until } from "../support/redis.ts";

type Line = { text: string; rank?: number; source: string; fn: string; container: string };

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export function gangsSuite(engine: "docker" | "process"): void {
  describe(`gangs on the ${engine} engine`, () => {
    let fabric: TestFabric;
    beforeAll(async () => {
      fabric = await startFabric({
        engine,
        app: "gangs",
        env: { FABRIC_NODE_CPU: "2", FABRIC_CANCEL_GRACE_MS: "3000" },
      });
      await fabric.json("deploy", "test/apps/gangs.py");
    });
    afterAll(() => fabric?.close());

    const linesOf = async (id: string): Promise<Line[]> =>
      (await (await fabric.fetch(`/v1/invocations/${id}/logs`)).text())
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));
    const resultOf = async (id: string): Promise<any> =>
      ((await (await fabric.fetch(`/v1/invocations/${id}/result`)).json()) as { result: unknown }).result;
    const untilPrinted = (id: string, count: number, text: string): Promise<Line[]> =>
      until(
        async () => {
          const found = (await linesOf(id)).filter((line) => line.text.includes(text));
          return found.length >= count ? found : undefined;
        },
        30_000,
        `'${text}' is printed`,
      );

    test("four ranks in two containers meet, and rank 0's value is the result", async () => {
      const id = await fabric.spawn("total", { values: [1, 2, 3, 4] });
      const { state, error } = await fabric.ended(id);
      expect(error).toBeUndefined();
      expect(state).toBe("succeeded");
      const result = await resultOf(id);
      expect(result).toMatchObject({
        ...{ sum: 10, RANK: "0", LOCAL_RANK: "0", WORLD_SIZE: "4", LOCAL_WORLD_SIZE: "2", NODE_RANK: "0" },
        ...{ GROUP_RANK: "0", TORCHELASTIC_RUN_ID: `${id}-1`, OMP_NUM_THREADS: "1" },
        GLOO_SOCKET_IFNAME: engine === "docker" ? "eth0" : "lo",
      });
      expect(result.MASTER_ADDR).toMatch(engine === "docker" ? /^172\.|^10\.|^192\.168\./ : /^127\.0\.0\.1$/);
      expect(result.NCCL_HOSTID).toMatch(/^con_/);
      const printed = await untilPrinted(id, 4, " has ");
      expect(printed.map(({ rank, text }) => `${rank}: ${text}`).sort()).toEqual(
        [1, 2, 3, 4].map((value, rank) => `${rank}: rank ${rank} has ${value}`),
      );
      // The next one's ranks are forked from the same parents, and meet elsewhere.
      const again = (await fabric.call("total", { values: [1, 1, 1, 2] })).body;
      expect(again).toMatchObject({ sum: 5, parent: result.parent });
      expect(again.MASTER_PORT).not.toBe(result.MASTER_PORT);
    });

    test("ranks with network egress meet, too", async () => {
      const { status, body } = await fabric.call("out", { values: [1, 2, 3, 5] });
      expect(body).toBe(11);
      expect(status).toBe(200);
    });

    test.each([
      ["kill", 1, "platformFaults"],
      ["exit", 3, "userFaults"],
      ["raise", 0, "userFaults"],
    ])("a rank that ends by '%s' ends the attempt, and the next one succeeds", async (how, rank, budget) => {
      const id = await fabric.spawn("fails", { how, rank, times: 1, counter: how });
      const record = await fabric.ended(id);
      expect(record.error).toBeUndefined();
      expect(record).toMatchObject({ state: "succeeded", attempts: 2, [budget]: 1 });
      expect(await resultOf(id)).toEqual([4, `${id}-2`]);
    });

    test.each([
      ["segv", 3, "rank_failed", "was ended by SIGSEGV"],
      ["raise", 1, "exception", "ValueError: no such digit"],
    ])("what ended by '%s' for good is told with the rank and its last lines", async (how, rank, code, said) => {
      const id = await fabric.spawn("fails", { how, rank, times: 9, counter: `${how}-always` });
      const { state, error, attempts } = await fabric.ended(id);
      expect({ state, attempts }).toEqual({ state: "failed", attempts: 2 });
      expect(error).toMatchObject({ code, details: { rank, world_size: 4 } });
      expect(error.message).toContain(`rank ${rank} of 4`);
      expect(error.message).toContain(said);
      expect(error.details.lines).toEqual(
        expect.arrayContaining([`this is attempt 1 of rank ${rank}`, "the last words"]),
      );
      expect(error.details.container).toMatch(/^con_/);
    });

    test("a container that is killed takes its gang with it, and another gang runs the call again", async () => {
      const id = await fabric.spawn("naps", { seconds: 300, restarted: 0 });
      const printed = await untilPrinted(id, 2, "is its parent");
      if (engine === "docker") await promisify(execFile)("docker", ["kill", printed[1]!.container]);
      else process.kill(Number(/, (\d+) is its parent/.exec(printed[1]!.text)![1]), "SIGKILL");
      expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", platformFaults: 1 });
      expect(await resultOf(id)).toBe(`${id}-2`);
      if (engine === "docker") return;
      const pids = printed.map(({ text }) => Number(/is (\d+),/.exec(text)![1]));
      await until(async () => (pids.some(isAlive) ? undefined : true), 10_000, "no rank of the first attempt is left");
    });

    test.each([
      ["", false],
      [" behind the training", true],
    ])("ranks save one checkpoint together%s, and resume from it when one was killed", async (_, behind) => {
      const id = await fabric.spawn("trains", { epochs: 3, kill_at: 2, behind });
      const { error, ...record } = await fabric.ended(id);
      expect(error).toBeUndefined();
      expect(record).toMatchObject({ state: "succeeded", platformFaults: 1 });
      const files = ["epoch", "mine", "shard-0", "shard-1", "shard-2", "shard-3"];
      expect(await resultOf(id)).toEqual({ begin: 2, step: 2, loss: 0, files });
      const warnings = await untilPrinted(id, 1, "mine of rank 1 differs from rank 0's, which was saved");
      expect(warnings[0]!.source).toBe("stderr");
    });

    test("a gang whose runner died is fenced and tried again", async () => {
      const id = await fabric.spawn("naps", { seconds: 300, restarted: 0 });
      await until(async () => (await fabric.record(id)).state === "running", 30_000, "it runs");
      await fabric.kill9("runner");
      expect(await fabric.ended(id, 90_000)).toMatchObject({ state: "succeeded", platformFaults: 1 });
      expect(await resultOf(id)).toBe(`${id}-2`);
    });

    // What follows is the same on every engine.
    if (engine === "docker") return;

    test("a cancelled gang cleans up, and stays warm", async () => {
      const before = (await fabric.call("naps", { seconds: 0 })).body;
      const id = await fabric.spawn("naps", { seconds: 300 });
      await until(async () => (await fabric.record(id)).state === "running", 30_000, "it runs");
      const asked = performance.now();
      await fabric.json("invocation", "cancel", id);
      expect(await fabric.ended(id)).toMatchObject({ state: "cancelled" });
      expect(performance.now() - asked).toBeLessThan(15_000);
      expect((await untilPrinted(id, 2, "cleans up")).map(({ rank }) => rank).sort()).toEqual([0, 1]);
      expect((await fabric.call("naps", { seconds: 0 })).body).not.toBe(before);
    });

    test("a gang that runs too long is ended in all its ranks", async () => {
      const id = await fabric.spawn("overruns");
      expect(await fabric.ended(id)).toMatchObject({ state: "failed", error: { code: "timed_out" } });
      expect((await untilPrinted(id, 2, "cleans up")).map(({ rank }) => rank).sort()).toEqual([0, 1]);
    });

    test("long arguments and results, coroutines, and a map over gangs", async () => {
      const { body } = await fabric.call("large", { data: "x".repeat(400_000), times: 3 });
      expect(body).toBe("x".repeat(1_200_000));
      expect((await fabric.call("later", { n: 21 })).body).toBe(42);
      const reply = await fabric.fetch("/v1/apps/gangs/functions/later/map", {
        method: "POST",
        body: "[1]\n[2]\n[3]\n",
        headers: { "content-type": "application/x-ndjson", accept: "application/x-ndjson" },
      });
      const lines = (await reply.text())
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(
        lines
          .filter((line) => "index" in line)
          .map((line) => [line.index, line.result])
          .sort(),
      ).toEqual([
        [0, 2],
        [1, 4],
        [2, 6],
      ]);
    });

    test("a rank that reports less often than the others is named", async () => {
      const { error } = await fabric.ended(await fabric.spawn("uneven"));
      expect(error.message).toContain("rank 1 returned after 1 reports, and others wait with report 2");
    });

    test("two gangs that each want more than half take turns; the one that waits says why", async () => {
      const first = await fabric.spawn("wide", { seconds: 1 });
      await until(async () => (await fabric.record(first)).state === "running", 60_000, "the first runs");
      const second = await fabric.spawn("broad", { seconds: 0 });
      const reason = await until(
        async () => /no cpu: 1\.5 asked, [\d.]+ free/.exec((await fabric.record(second)).reason ?? "")?.[0],
        30_000,
        "it says what is missing",
      );
      expect(reason).toBeDefined();
      for (const id of [first, second]) {
        expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
        expect(await resultOf(id)).toBe(3);
      }
    });
  });
}
