/** What an attempt does when its lease is another's: its container goes before its slot is free. */
import { pino } from "pino";
import { expect, it } from "vitest";
import { manualClock } from "../../../core/clock.ts";
import type { InvocationRecord } from "../../../core/invocation.ts";
import { type AttemptDeps, createAttempt } from "../../../runner/attempt.ts";
import type { ContainerLink } from "../../../runner/container-contract.ts";

it("ends its container before its slot can be given to another attempt", () => {
  const happened: string[] = [];
  const record = { id: "inv_1", generation: 1, encoding: "json", input: Buffer.from("{}"), timeoutMs: 1_000 };
  const attempt = createAttempt(
    { clock: manualClock(), log: pino({ level: "silent" }) } as unknown as AttemptDeps,
    { key: "a/f", record: record as InvocationRecord, acknowledge: async () => {} },
    { onInputs() {}, onReleased: () => happened.push("slot free"), onEnded() {} },
  );
  const link: ContainerLink = {
    id: "con_1",
    send: () => true,
    batches: () => false,
    streams: () => undefined,
    kill: () => happened.push("killed"),
    bootMs: () => 0,
    enterMs: () => 0,
  };
  attempt.begin(link);
  attempt.lose();
  expect(happened).toEqual(["killed", "slot free"]);
});
