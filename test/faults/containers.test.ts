/** What functions do to their containers, and others to them: budgets bound it, and neighbours survive. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FaultFabric, startFaultFabric } from "../support/fault-fabric.ts";
import { until } from "../support/redis.ts";
import { killIfThere, processesWith } from "../support/runner.ts";

const GRACE_MS = 1_000;

let fabric: FaultFabric;
beforeAll(async () => {
  fabric = await startFaultFabric({ env: { FABRIC_CANCEL_GRACE_MS: String(GRACE_MS) }, warm: ["shared"] });
});
afterAll(() => fabric?.close());

test("a container killed from outside costs its call one platform fault, and the call is done", async () => {
  const id = await fabric.ask("nap", { token: "killed", seconds: 2, journal: fabric.journal });
  const { container } = await fabric.running(id);
  await until(async () => (await fabric.executions("killed")) === 1, 10_000, "it runs");
  for (const pid of await processesWith(`FABRIC_CONTAINER=${container}`)) killIfThere(pid);
  expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", attempts: 2, userFaults: 0, platformFaults: 1 });
  expect(await fabric.executions("killed")).toBe(2);
});

test("a function that ignores signals and exceptions is ended with its container, soon after its timeout", async () => {
  const id = await fabric.spawn("stubborn");
  const { container } = await fabric.running(id);
  const final = await fabric.ended(id, 20_000);
  expect(final).toMatchObject({ state: "failed", error: { code: "timed_out" }, attempts: 1 });
  expect(Date.parse(final.finishedAt) - Date.parse(final.startedAt)).toBeLessThan(1_000 + GRACE_MS + 5_000);
  await until(
    async () => (await processesWith(`FABRIC_CONTAINER=${container}`)).length === 0,
    5_000,
    "nothing is left",
  );
});

test.each([
  ["by its exit", "exit", "container_crashed"],
  ["by a signal, as if from outside", "kill", "container_killed"],
])(
  "an input that takes its container down %s each time fails in the end, and its neighbours succeed",
  async (_, how, code) => {
    const sent = (name: string, more: object) => ({ token: `${how}-${name}`, journal: fabric.journal, ...more });
    const neighbours = await Promise.all(
      ["a", "b", "c"].map((name) => fabric.ask("shared", sent(name, { seconds: 0.5 }))),
    );
    const poison = await fabric.ask("shared", sent("poison", { seconds: 0.2, poison: how }));
    const final = await fabric.ended(poison);
    expect(final).toMatchObject({ state: "failed", error: { code } });
    expect(await fabric.executions(`${how}-poison`)).toBeLessThanOrEqual(4);
    for (const id of neighbours) expect(await fabric.ended(id)).toMatchObject({ state: "succeeded" });
    const after = await fabric.ask("shared", sent("after", {}));
    expect(await fabric.ended(after)).toMatchObject({ state: "succeeded", attempts: 1 });
  },
);

test("an input that ends its process leaves a function that respawns its container: what comes next runs in it at once", async () => {
  const sent = (name: string, more: object) => ({ token: `sturdy-${name}`, journal: fabric.journal, ...more });
  const first = await fabric.ended(await fabric.ask("sturdy", sent("first", {})));
  const alone = await fabric.ended(await fabric.ask("sturdy", sent("alone", { poison: "exit" })));
  const { container } = first;
  expect(alone).toMatchObject({ state: "failed", error: { code: "container_crashed" }, attempts: 1, container });
  const neighbours = await Promise.all(["a", "b"].map((name) => fabric.ask("sturdy", sent(name, { seconds: 0.5 }))));
  const poison = await fabric.ask("sturdy", sent("poison", { seconds: 0.2, poison: "exit" }));
  expect(await fabric.ended(poison)).toMatchObject({
    state: "failed",
    error: { code: "container_crashed" },
    container,
  });
  for (const id of neighbours)
    expect(await fabric.ended(id)).toMatchObject({ state: "succeeded", userFaults: 0, container });
  const after = await fabric.ask("sturdy", sent("after", {}));
  expect(await fabric.ended(after)).toMatchObject({ state: "succeeded", attempts: 1, container });
});
