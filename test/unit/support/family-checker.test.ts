/** The checker of calls that calls make finds what it is there to find. */
import { expect, test } from "vitest";
import { familyViolations, type ObservedFamilies } from "../../support/family-checker.ts";

const parent = { id: "inv_p", token: "t", attempts: 1 };
const child = (id: string) => ({ id, state: "succeeded", parent: "inv_p", root: "inv_p" });
const named = ["inv_a", "inv_b"].map((id) => ({ parent: "inv_p", child: id }));
const ran = (token: string) => ({ token, process: "1", startedAt: 1, endedAt: 2 });

const found = (changed: Partial<ObservedFamilies>): string =>
  familyViolations({
    parents: [parent],
    children: [child("inv_a"), child("inv_b"), child("inv_a"), child("inv_b")],
    named,
    perAttempt: 2,
    tokensOf: (token) => [`${token}.0`, `${token}.1`],
    executions: [ran("t.0"), ran("t.1")],
    disruptions: 0,
    ...changed,
  }).join("\n");

test("an undisturbed family breaks no promise", () => {
  expect(found({})).toBe("");
});

test("calls that were made twice or not at all are found, those of a second attempt are not", () => {
  const more = [...named, { parent: "inv_p", child: "inv_c" }];
  const children = ["inv_a", "inv_b", "inv_c"].map(child);
  expect(found({ named: more, children })).toContain("made 3 calls in 1 attempts");
  expect(found({ named: more, children, parents: [{ ...parent, attempts: 2 }] })).toBe("");
  expect(found({ named: named.slice(1) })).toContain("made 1 calls instead of 2");
});

test("calls that never ended, failed, changed, or are others' are found", () => {
  const [a, b] = [child("inv_a"), child("inv_b")];
  expect(found({ children: [a] })).toContain("its call inv_b never ended");
  expect(found({ children: [a, { ...b, state: "failed" }] })).toContain("inv_b ended failed");
  expect(found({ children: [a, { ...b, state: "cancelled" }] })).toContain("inv_b ended cancelled");
  const cancelled = { children: [a, { ...b, state: "cancelled" }], parents: [{ ...parent, attempts: 2 }] };
  expect(found(cancelled)).toBe("");
  expect(found({ children: [a, b, { ...b, state: "failed" }] })).toContain("changed after its end");
  expect(found({ children: [a, { ...b, parent: "inv_q" }] })).toContain("says it is inv_q's");
});

test("executions that nothing called for are found", () => {
  const executions = [ran("t.0"), ran("t.0"), ran("t.1")];
  expect(found({ executions })).toContain("t.0 was executed 2 times, 1 at most");
  expect(found({ executions, disruptions: 1 })).toBe("");
  expect(found({ executions: [ran("t.0")] })).toContain("t.1 was not executed");
});
