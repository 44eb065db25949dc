/** The checker of maps under faults finds what it is there to find. */
import { expect, test } from "vitest";
import { type MapFinal, mapViolations, type ObservedMaps } from "../../support/map-checker.ts";

const map = { id: "inv_1", token: "t", inputs: 2 };
const outcomes = [
  { index: 1, value: "t.1" },
  { index: 0, value: "t.0" },
];
const final: MapFinal = { id: "inv_1", state: "succeeded", total: 2, failed: 0, outcomes };
const ran = (index: number) => ({ token: `t.${index}`, process: "1", startedAt: 1, endedAt: 2 });

const found = (changed: Partial<ObservedMaps>): string =>
  mapViolations({
    accepted: [map],
    finals: [final, { ...final, outcomes: [...outcomes].reverse() }],
    executions: [ran(0), ran(1)],
    expected: ({ token }, index) => ({ fails: false, value: `${token}.${index}` }),
    disruptions: 0,
    ...changed,
  }).join("\n");

test("an undisturbed map breaks no promise, in whatever order its outcomes come", () => {
  expect(found({})).toBe("");
});

test("a map that never ended, ended otherwise or changed after its end is found", () => {
  expect(found({ finals: [] })).toContain("never ended");
  expect(found({ finals: [{ ...final, state: "cancelled" }] })).toContain("ended cancelled");
  expect(found({ finals: [{ ...final, total: 1 }] })).toContain("0 of 1 failed");
  expect(found({ finals: [final, { ...final, outcomes: [outcomes[0]!] }] })).toContain("changed after its end");
});

test("inputs without an outcome, with two, with a wrong one, and outcomes of no input are found", () => {
  expect(found({ finals: [{ ...final, outcomes: outcomes.slice(1) }] })).toContain("has 0 outcomes of input 1");
  expect(found({ finals: [{ ...final, outcomes: [...outcomes, outcomes[0]!] }] })).toContain("2 outcomes of input 1");
  const swapped = outcomes.map(({ index, value }) => ({ index: 1 - index, value }));
  expect(found({ finals: [{ ...final, outcomes: swapped }] })).toContain('input 0 ended with "t.1", not t.0');
  expect(found({ finals: [{ ...final, outcomes: [...outcomes, { index: 2, value: 1 }] }] })).toContain("of input 2");
});

test("failures count as the functions meant them", () => {
  const expected: ObservedMaps["expected"] = (_map, index) =>
    index === 0 ? { fails: true, value: "exception" } : { fails: false, value: "t.1" };
  const failed = { ...final, state: "failed", failed: 1, outcomes: [outcomes[0]!, { index: 0, value: "exception" }] };
  expect(found({ expected, finals: [failed] })).toBe("");
  expect(found({ expected, finals: [{ ...failed, failed: 0 }] })).toContain("0 of 2 failed, not failed with 1 of 2");
});

test("inputs that were executed without need, or not at all, are found", () => {
  expect(found({ executions: [ran(0), ran(1), ran(1)] })).toContain("input 1 was executed 2 times, 1 at most");
  expect(found({ executions: [ran(0), ran(1), ran(1)], disruptions: 1 })).toBe("");
  expect(found({ executions: [ran(0)] })).toContain("input 1 was not executed");
});

test("two maps of one key are found", () => {
  expect(found({ accepted: [map, { ...map, id: "inv_2" }] })).toContain("token t stands for inv_1 and inv_2");
});
