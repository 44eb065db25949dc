/** The runner's decisions: numbers in, numbers out. */
import { describe, expect, it } from "vitest";
import { decideRetry } from "../../../core/retry.ts";
import { classifyExit } from "../../../runner/classify-exit.ts";
import { shareOf } from "../../../runner/minimum.ts";
import { parseGpus } from "../../../runner/node-facts.ts";
import { lookahead, takesNow } from "../../../runner/pace.ts";
import { helps } from "../../../runner/room.ts";
import { desiredContainers, idleToStop, type Load, startsNow } from "../../../runner/scaling.ts";
import { leasesEnded, mustFence } from "../../../runner/self-fence.ts";
import { entryFault } from "../../../runner/unpack.ts";

const load = (some: Partial<Load>): Load => ({
  containers: 0,
  starting: 0,
  busySlots: 0,
  waiting: 0,
  queued: 0,
  ...some,
});
const policy = { slots: 2, min: 0, max: 5, buffer: 0, scaledownMs: 1_000 };

describe("scaling", () => {
  it.each([
    ["nothing to do", {}, {}, 0],
    ["slots share a container", { queued: 3 }, {}, 2],
    ["everything counts", { queued: 1, waiting: 2, busySlots: 2 }, {}, 3],
    ["max holds", { queued: 100 }, {}, 5],
    ["min holds without demand", {}, { min: 2 }, 2],
    ["a buffer only beside demand", { queued: 1 }, { buffer: 1 }, 2],
    ["no buffer without demand", {}, { buffer: 1 }, 0],
  ])("%s", (_name, some, more, wanted) => {
    expect(desiredContainers(load(some), { ...policy, ...more })).toBe(wanted);
  });

  it("starts what is missing, as far as the node may boot", () => {
    expect(startsNow(load({ queued: 8, containers: 1 }), policy, 2)).toBe(2);
    expect(startsNow(load({ queued: 1, containers: 3 }), policy, 2)).toBe(0);
    // 32 inputs of 1 ms are through before another container is up; 32 of a second are not.
    expect(startsNow(load({ queued: 32, containers: 2, runMs: 1 }), policy, 2)).toBe(0);
    expect(startsNow(load({ queued: 32, containers: 2, runMs: 1_000 }), policy, 2)).toBe(2);
    expect(startsNow(load({ queued: 1, containers: 0, runMs: 1 }), policy, 2)).toBe(1);
  });

  it("stops the longest idle beyond the window, never below demand or min", () => {
    const idle = ["a", "b", "c"].map((id, i) => ({ id, since: i * 500 }));
    expect(idleToStop(idle, load({ containers: 3 }), policy, 1_500)).toEqual(["a", "b"]);
    expect(idleToStop(idle, load({ containers: 3 }), { ...policy, min: 2 }, 9_999)).toEqual(["a"]);
    expect(idleToStop(idle, load({ containers: 3, busySlots: 6 }), policy, 9_999)).toEqual([]);
  });
});

describe("pace", () => {
  it("doubles while there is work, within the slots", () => {
    expect([0, 1, 2, 9].map((streak) => takesNow(50, streak, 0, 0))).toEqual([1, 2, 4, 50]);
    expect(takesNow(3, 9, 1, 0)).toBe(3);
    expect(takesNow(3, 9, 0, 8)).toBe(0);
    expect(takesNow(4, 9, 0, 8)).toBe(4);
    expect(takesNow(1, 0, 0, 8)).toBe(1);
    expect(takesNow(-2, 9, 0, 0)).toBe(0);
  });

  it("takes ahead only where inputs are short", () => {
    expect([lookahead(undefined, 4), lookahead(2, 4), lookahead(15, 4), lookahead(500, 4)]).toEqual([0, 20, 4, 0]);
    expect([lookahead(0.1, 0), lookahead(0.1, 4)]).toEqual([64, 64]);
  });
});

describe("classifyExit", () => {
  it.each([
    [{ code: 137, outOfMemory: true }, "out_of_memory"],
    [{ code: 0, outOfMemory: true }, "container_crashed"],
    [{ code: 137, outOfMemory: false }, "container_killed"],
    [{ code: 143, outOfMemory: false }, "container_killed"],
    [{ code: 139, outOfMemory: false }, "container_crashed"],
    [{ code: 1, outOfMemory: false }, "container_crashed"],
    [undefined, "container_killed"],
  ])("%j is %s", (exit, code) => {
    expect(classifyExit(exit).code).toBe(code);
  });

  it("names code or signal and the last words", () => {
    expect(classifyExit({ code: 139, outOfMemory: false }).message).toContain("SIGSEGV");
    expect(classifyExit({ code: 7, outOfMemory: false }, "boom\n").message).toMatch(/exit code 7[\s\S]*boom/);
  });
});

describe("decideRetry", () => {
  const spent = { retries: 1, userFaults: 0, platformFaults: 0 };
  it.each([
    ["exception", {}, { retry: true, charge: "user", delayMs: 1_000 }],
    ["exception", { userFaults: 1 }, { retry: false }],
    ["import_failed", {}, { retry: false }],
    ["python_mismatch", {}, { retry: false }],
    ["container_killed", { userFaults: 1 }, { retry: true, charge: "platform", delayMs: 0 }],
    ["container_killed", { platformFaults: 3 }, { retry: false }],
    ["protocol_violation", {}, { retry: false }],
  ] as const)("%s after %j: %j", (code, more, decision) => {
    expect(decideRetry(code, { ...spent, ...more })).toEqual(decision);
  });
});

describe("self-fence", () => {
  it("waits for the end of the lease", () => {
    expect([leasesEnded(0, 1_000, 999), leasesEnded(0, 1_000, 1_000)]).toEqual([false, true]);
  });

  it("keeps running while Redis is down or hangs for everybody", () => {
    expect((["refused", "connected", "unreachable"] as const).map(mustFence)).toEqual([false, false, true]);
  });
});

describe("small rules", () => {
  it("evicts only what would help", () => {
    const plain = { gpus: [], isOfSameFunction: false };
    const withGpu = { gpus: ["GPU-1"], isOfSameFunction: false };
    expect(helps("no memory: 512 MiB asked, 1 MiB free on nod_x", plain)).toBe(true);
    expect(helps("no A100 free: 1 asked, 0 free on nod_x", plain)).toBe(false);
    expect(helps("no A100 free: 1 asked, 0 free on nod_x", withGpu)).toBe(true);
    expect(helps("all 1 containers of a/f are busy (max_containers)", withGpu)).toBe(false);
    // of another version
    expect(helps("all 1 containers of a/f are busy (max_containers)", { ...plain, isOfSameFunction: true })).toBe(true);
  });

  it("counts minimums over all nodes", () => {
    expect([shareOf(3, 1), shareOf(1, 2)]).toEqual([2, 0]);
  });

  it("refuses archive entries that are not plain files below the root", () => {
    expect(entryFault("a/b.py", "file")).toBeUndefined();
    for (const [name, type] of [
      ["../x", "file"],
      ["/x", "file"],
      ["a", "symlink"],
      ["a", "link"],
      ["a", "character-device"],
    ])
      expect(entryFault(name!, type!)).toBeTypeOf("string");
  });

  it("reads nvidia-smi", () => {
    expect(parseGpus("GPU-1, NVIDIA H200, 143771\nNo devices were found\n")).toEqual([
      { uuid: "GPU-1", model: "NVIDIA H200", memoryBytes: 143771 * 1024 * 1024 },
    ]);
  });
});
