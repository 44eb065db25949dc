/** The checker of fault tests finds what it is there to find. */
import { expect, test } from "vitest";
import { type Execution, type Final, type Observed, violations } from "../../support/checker.ts";

const call = { id: "inv_1", fn: "fast", token: "t" };
const final: Final = { id: "inv_1", state: "succeeded", attempts: 1, userFaults: 0, platformFaults: 0, value: "t" };
const once: Execution = { token: "t", process: "1", startedAt: 1, endedAt: 2 };

const found = (changed: Partial<Observed>): string =>
  violations({
    accepted: [call],
    finals: [final, final],
    executions: [once],
    expected: ({ token }) => ({ state: "succeeded", value: token }),
    disruptions: 0,
    ...changed,
  }).join("\n");

test("an undisturbed call breaks no promise", () => {
  expect(found({})).toBe("");
  expect(found({ accepted: [] })).toBe("");
});

test("a call that never ended, ended otherwise or changed after its end is found", () => {
  expect(found({ finals: [] })).toContain("never ended");
  expect(found({ finals: [{ ...final, state: "failed", value: "node_lost" }] })).toContain("ended failed");
  expect(found({ finals: [{ ...final, value: "other" }] })).toContain("ended succeeded with");
  expect(found({ finals: [final, { ...final, attempts: 2 }] })).toContain("changed after its end");
});

test("executions that nothing called for are found, those after a fault are not", () => {
  const second = { ...once, process: "2", startedAt: 3, endedAt: 4 };
  const twice = { finals: [{ ...final, attempts: 2 }], executions: [once, second] };
  expect(found(twice)).toContain("executed 2 times, 1 at most");
  expect(found({ ...twice, disruptions: 1 })).toBe("");
  expect(found({ ...twice, finals: [{ ...final, attempts: 2, userFaults: 1 }] })).toBe("");
});

test("more executions than attempts, none, and two at once are found", () => {
  const beside = { ...once, process: "2", startedAt: 1.5, endedAt: 3 };
  expect(found({ executions: [once, once] })).toContain("executed 2 times in 1 attempts");
  expect(found({ executions: [] })).toContain("without having been executed");
  const overlapping = { finals: [{ ...final, attempts: 2 }], executions: [once, beside], disruptions: 1 };
  expect(found(overlapping)).toContain("at the same time");
  const lost = { ...overlapping, finals: [{ ...final, attempts: 2, platformFaults: 1 }] };
  expect(found(lost)).toBe("");
});

test("a key with two invocations, and an invocation with two keys, are found", () => {
  expect(found({ accepted: [call, { ...call, id: "inv_2" }] })).toContain("token t stands for inv_1 and inv_2");
  expect(found({ accepted: [call, { ...call, token: "u" }] })).toContain("invocation inv_1 stands for t and u");
});

test("a delayed call that began before it was due is found", () => {
  expect(found({ accepted: [{ ...call, notBefore: 1 }] })).toBe("");
  expect(found({ accepted: [{ ...call, notBefore: 1.5 }] })).toContain("began 0.500 s before it was due");
});
