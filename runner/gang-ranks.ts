/** What a gang knows of each of its ranks. */
import type { MemberContainer } from "./container-contract.ts";

/**
 * `unborn` until it is launched, `running` once its process reported. `returned` and `failed` are what it said; its process
 * may still be there until it has `ended`.
 */
export type RankState = "unborn" | "launched" | "running" | "returned" | "failed" | "ended";

export interface Rank {
  number: number;
  node: number;
  local: number;
  state: RankState;
  /** What it printed last. */
  lines: string[];
}

export const ranksOf = (members: readonly MemberContainer[]): Rank[] =>
  members
    .flatMap(({ plan }, node) =>
      Array.from(
        { length: plan.member!.procs },
        (_, local): Omit<Rank, "number"> => ({
          ...{ node, local, state: "unborn", lines: [] },
        }),
      ),
    )
    .map((rank, number) => ({ ...rank, number }));

const KEPT_LINES = 20;
const KEPT_LETTERS = 500;

export const tailOf = (before: readonly string[], body: Buffer): string[] =>
  [
    ...before,
    ...body
      .toString("utf8")
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => line.slice(0, KEPT_LETTERS)),
  ].slice(-KEPT_LINES);
