/** What a caller may ask of one call, as headers carry it. */
import { expect, it } from "vitest";
import { callOptions, timingOf } from "../../../core/call-options.ts";
import { functionSpecSchema } from "../../../core/spec.ts";

const read = (headers: Record<string, string>) => callOptions((name) => headers[name]);

it("reads what is given, and nothing where nothing is", () => {
  expect(read({})).toEqual({});
  expect(read({ "fabric-delay": "1.5", "idempotency-key": "12" })).toEqual({ delay: 1.5, idempotency_key: "12" });
  expect(read({ "fabric-priority": "-60" })).toEqual({ priority: -60 });
  expect(read({ "fabric-debounce": "5", "fabric-debounce-key": "7", "fabric-ttl": "60" })).toEqual({
    ...{ debounce: 5, debounce_key: "7", ttl: 60 },
  });
});

it.each([
  ["fabric-delay", "soon"],
  ["fabric-delay", ""],
  ["fabric-delay", "-1"],
  ["fabric-delay", "NaN"],
  ["fabric-delay", "Infinity"],
  ["fabric-delay", "9999999"],
  ["fabric-ttl", "0"],
  ["fabric-priority", "-86401"],
  ["fabric-priority", "86401"],
  ["fabric-debounce", "0"],
  ["fabric-debounce-key", "alone"],
  ["fabric-key", ""],
  ["idempotency-key", ""],
  ["idempotency-key", "x".repeat(256)],
])("refuses %s: %s, naming both", (name, value) => {
  expect(() => read({ [name]: value })).toThrow(`${name} is "${value}"; it must`);
});

it("refuses a delay beside a debounce", () => {
  expect(() => read({ "fabric-delay": "1", "fabric-debounce": "1" })).toThrow("fabric-delay");
});

const spec = (more: object) =>
  functionSpecSchema.parse({ name: "f", image: "i", entry: { module: "m", qualname: "f" }, ...more });

it("times a call by its function and its caller, who goes first", () => {
  expect(timingOf(spec({}), {})).toEqual({ timeoutMs: 300_000, retries: 0 });
  expect(timingOf(spec({ max_queue_age: 2, at_most_once: true, timeout: 0.5 }), { delay: 1.5 })).toEqual({
    ...{ timeoutMs: 500, retries: 0, atMostOnce: true, maxQueueMs: 2_000, delayMs: 1_500 },
  });
  expect(timingOf(spec({ max_queue_age: 2 }), { ttl: 9, debounce: 3 })).toMatchObject({
    ...{ maxQueueMs: 9_000, delayMs: 3_000, debounceKey: "" },
  });
  expect(timingOf(spec({}), { delay: 0.0001 }).delayMs).toBe(1);
});

it("takes a key where the function has a limit for it, and the function's rate", () => {
  expect(timingOf(spec({ key_concurrency: 2, rate_limit: "100/m" }), { key: "u" })).toMatchObject({
    ...{ key: "u", keyLimit: 2, rate: "100/m" },
  });
  expect(timingOf(spec({ key_concurrency: 2 }), {})).toEqual({ timeoutMs: 300_000, retries: 0 });
  expect(timingOf(spec({}), { key: "u" })).toEqual({ timeoutMs: 300_000, retries: 0 });
});

it.each(["0/s", "10", "10/w", "1.5/s", "-1/s", "1000000/s", "10/s "])("refuses the rate %j", (rate_limit) => {
  expect(() => spec({ rate_limit })).toThrow("a number below a million and a unit of time");
});

it("refuses retries of what runs at most once", () => {
  expect(() => spec({ at_most_once: true, retries: 1 })).toThrow("cannot have retries");
  expect(() => spec({ at_most_once: true, retries: { max_retries: 1 } })).toThrow("cannot have retries");
});
