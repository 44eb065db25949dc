/** Which rank is to blame, under which code, and what is said of it. */
import { describe, expect, it, test } from "vitest";
import { deathOf, gangFault, type RankFailure, rootOf } from "../../../runner/gang-failure.ts";

const raised = (rank: number, message = "ConnectionResetError: peer"): RankFailure => ({
  ...{ rank, container: "con_a", lines: ["last"] },
  how: { error: { code: "exception", message }, exception: Buffer.alloc(0) },
});
const died = (rank: number, exit: number, outOfMemory = false): RankFailure => ({
  ...{ rank, container: "con_b", lines: ["epoch 3", "loss 0.1"], how: { exit, outOfMemory } },
});

describe("the cause", () => {
  it("is the rank that died, though others were heard first", () =>
    expect(rootOf([raised(0), raised(2), died(1, 137)]).rank).toBe(1));
  it("is the first that raised where none died", () => expect(rootOf([raised(2), raised(0)]).rank).toBe(2));
});

describe("is told", () => {
  test.each([
    [died(1, 137), "rank_killed", "rank 1 of 4 (con_b) was killed from outside (SIGKILL)"],
    [
      died(1, 137, true),
      "out_of_memory",
      "rank 1 of 4 (con_b) used more memory than its container has, and was killed",
    ],
    [died(3, 139), "rank_failed", "rank 3 of 4 (con_b) was ended by SIGSEGV"],
    [died(3, 0), "rank_failed", "rank 3 of 4 (con_b) ended with exit code 0"],
  ])("%j as %s", (failure, code, message) => {
    const error = deathOf(gangFault([raised(0), failure], 4));
    expect(error).toMatchObject({ code, message: `${message}\nIts last lines:\nepoch 3\nloss 0.1` });
    expect(error.details).toMatchObject({
      ...{ rank: failure.rank, world_size: 4, container: "con_b", lines: ["epoch 3", "loss 0.1"] },
      failures: [{ rank: failure.rank }, { rank: 0, message: "raised ConnectionResetError: peer" }],
    });
  });

  it("under the container's own code when that took it along", () => {
    const verdict = { code: "out_of_memory", message: "It was too large.", retryable: false, fault: "user" } as const;
    const error = deathOf(gangFault([{ ...died(2, 0), how: { verdict } }], 4));
    expect(error).toMatchObject({ code: "out_of_memory", fault: "user", details: { rank: 2 } });
    expect(error.message).toContain("rank 2 of 4 (con_b) lost its container: It was too large.");
  });
});
