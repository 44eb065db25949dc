/** How long retries wait, and what is said about them. */
import { describe, expect, it } from "vitest";
import { FabricError } from "../../../core/errors.ts";
import { decideRetry, retryDelayMs, retryReason } from "../../../core/retry.ts";
import { functionSpecSchema, retryPolicy } from "../../../core/spec.ts";

const spec = (retries: unknown) =>
  functionSpecSchema.parse({ name: "f", image: "i", entry: { module: "m", qualname: "f" }, retries }).retries;

describe("delays", () => {
  const { backoff } = retryPolicy(spec({ max_retries: 10 }));

  it("double from a second up to a minute", () => {
    expect([1, 2, 3, 6, 7, 10].map((n) => retryDelayMs(backoff!, n))).toEqual([
      1_000, 2_000, 4_000, 32_000, 60_000, 60_000,
    ]);
  });

  it("of a plain number are always a second", () => {
    const policy = retryPolicy(spec(3));
    const delays = [0, 1, 2].map((userFaults) =>
      decideRetry("exception", { ...policy, userFaults, platformFaults: 0 }),
    );
    expect(delays).toEqual([1, 2, 3].map(() => ({ retry: true, charge: "user", delayMs: 1_000 })));
  });

  it("of platform faults are none", () => {
    expect(decideRetry("container_killed", { retries: 0, userFaults: 0, platformFaults: 0 })).toMatchObject({
      delayMs: 0,
    });
  });
});

it("says which retry it is, when, and why", () => {
  const spent = { retries: 3, userFaults: 1, platformFaults: 0 };
  const say = (charge: "user" | "platform", delayMs: number) =>
    retryReason({ retry: true, charge, delayMs }, spent, new FabricError("exception", "ValueError: no\nmore").toBody());
  expect(say("user", 4_000)).toBe("retry 2 of 3 in 4.0 s after ValueError: no");
  expect(say("user", 0)).toBe("retry 2 of 3 at once after ValueError: no");
  expect(say("platform", 0)).toBe("trying again after ValueError: no");
});

it.each([
  { max_retries: -1 },
  { max_retries: 101 },
  { max_retries: 1, backoff_coefficient: 0.5 },
  { max_retries: 1, initial_delay: 61 },
  { max_retries: 1, max_delay: 0.5 },
  { max_retries: 1, more: 1 },
  101,
])("refuses the policy %j", (retries) => {
  expect(() => spec(retries)).toThrow();
});
