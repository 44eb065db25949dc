/** Which checkpoints a keep rule lets go. */
import { describe, expect, it } from "vitest";
import { type Kept, stepsToRemove } from "../../../core/keep-rule.ts";

const of = (losses: (number | string | undefined)[]): Kept[] =>
  losses.map((loss, step) => ({ step, metrics: (loss === undefined ? {} : { loss }) as Kept["metrics"] }));
const none = { needed: new Set<number>(), tagged: new Set<number>() };

describe("a keep rule", () => {
  it("without a number keeps all", () => {
    expect(stepsToRemove(of([1, 2, 3]), { attribute: "loss" }, none)).toEqual([]);
  });

  it("keeps the latest ones without an attribute", () => {
    expect(stepsToRemove(of([1, 2, 3, 4]), { numToKeep: 2 }, none)).toEqual([0, 1]);
    expect(stepsToRemove(of([1]), { numToKeep: 2 }, none)).toEqual([]);
  });

  it("keeps the best ones, the largest or the smallest", () => {
    const saved = of([0.4, 0.1, 0.3, 0.2]);
    expect(stepsToRemove(saved, { numToKeep: 2, attribute: "loss", order: "min" }, none)).toEqual([0, 2]);
    expect(stepsToRemove(saved, { numToKeep: 2, attribute: "loss" }, none)).toEqual([1, 3]);
  });

  it("takes the later one of equals, and one without a number for the worst", () => {
    const rule = { numToKeep: 2, attribute: "loss", order: "min" } as const;
    expect(stepsToRemove(of([1, 1, 1]), rule, none)).toEqual([0]);
    expect(stepsToRemove(of([undefined, "nan", 5, 9]), rule, none)).toEqual([0, 1]);
    expect(stepsToRemove(of([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 5]), rule, none)).toEqual([1]);
  });

  it("never removes what a resume needs, however bad it is", () => {
    const rule = { numToKeep: 1, attribute: "loss", order: "min" } as const;
    expect(stepsToRemove(of([0.1, 0.2, 0.9]), rule, { ...none, needed: new Set([2]) })).toEqual([1]);
  });

  it("never removes a tagged one, and does not count it", () => {
    const rule = { numToKeep: 1, attribute: "loss", order: "min" } as const;
    expect(stepsToRemove(of([0.1, 0.2, 0.9, 0.8]), rule, { needed: new Set([3]), tagged: new Set([0, 2]) })).toEqual(
      [],
    );
    expect(stepsToRemove(of([0.1, 0.2, 0.3]), rule, { ...none, tagged: new Set([0]) })).toEqual([2]);
  });
});
