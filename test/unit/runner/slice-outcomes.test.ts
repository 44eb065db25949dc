/** Which of a slice's inputs are tried again, by what their container and the function's policy say. */
import { describe, expect, it } from "vitest";
import { FabricError } from "../../../core/errors.ts";
import { collectOutcomes } from "../../../runner/slice-outcomes.ts";

const spent = { retries: 3, userFaults: 0, platformFaults: 0 };
const line = (index: number, more: object): string =>
  `${JSON.stringify({ index, error: { code: "exception", message: "no", ...more } })}\n`;

it("gives up where the container says so, and tries the others again", () => {
  const outcomes = collectOutcomes(0, spent);
  outcomes.accept(0, Buffer.from(line(0, {}) + line(1, { retryable: false })), 9);
  expect(outcomes.close()).toMatchObject({
    failed: 1,
    again: [{ first: 0, count: 1, charge: "user", delayMs: 1_000 }],
  });
});

it("takes nothing but a refusal from the container", () => {
  const outcomes = collectOutcomes(0, { ...spent, retries: 0 });
  expect(() => outcomes.accept(0, Buffer.from(line(0, { retryable: true })), 9)).toThrow("no known form");
});

it("tries nothing again of what runs at most once", () => {
  const outcomes = collectOutcomes(0, { ...spent, atMostOnce: true });
  outcomes.accept(0, Buffer.from(line(0, {})), 9);
  outcomes.fault(new FabricError("container_killed", "gone").toBody(), 2);
  expect(outcomes.close()).toMatchObject({ failed: 3, again: [] });
});

it("tries an input again on fabric's budget that was given up for its storage", () => {
  const outcomes = collectOutcomes(0, { ...spent, retries: 0 });
  const away = new FabricError("storage_unavailable", "away").toBody();
  const ended = line(1, { code: "timed_out" });
  outcomes.accept(0, Buffer.from(line(0, {}) + ended), 9, "timed_out", away);
  expect(outcomes.close()).toMatchObject({
    failed: 1,
    again: [{ first: 1, count: 1, charge: "platform", delayMs: 0 }],
  });
});

describe("frames of outcomes", () => {
  const ok = (index: number): string => `{"index":${index},"result":"${index}"}\n`;
  const bytes = (...lines: string[]): Buffer => Buffer.from(lines.join(""));
  const none = { ...spent, retries: 0 };

  it("that come again after a reconnect change nothing, and go on behind what is known", () => {
    const outcomes = collectOutcomes(5, none);
    expect(outcomes.accept(5, bytes(ok(5), ok(6)), 9)).toBe(2);
    expect(outcomes.accept(5, bytes(ok(5), ok(6)), 9)).toBe(0);
    expect(outcomes.accept(5, bytes(ok(5), ok(6), ok(7)), 9)).toBe(1);
    const { lines, succeeded } = outcomes.close();
    expect([lines.toString(), succeeded]).toEqual([ok(5) + ok(6) + ok(7), 3]);
  });

  it("keep the lines of what is tried again out, also between others", () => {
    const outcomes = collectOutcomes(0, spent);
    outcomes.accept(0, bytes(ok(0), line(1, {}), line(2, {}), ok(3), line(4, {}), ok(5)), 9);
    const { lines, succeeded, failed, again } = outcomes.close();
    expect(lines.toString()).toBe(ok(0) + ok(3) + ok(5));
    expect([succeeded, failed]).toEqual([3, 0]);
    expect(again.map(({ first, count }) => [first, count])).toEqual([
      [1, 2],
      [4, 1],
    ]);
  });

  it("that leave an input out are refused", () => {
    const outcomes = collectOutcomes(0, none);
    expect(() => outcomes.accept(1, bytes(ok(1)), 9)).toThrow("outcome 1 came before that of 0");
    expect(() => outcomes.accept(0, bytes(ok(1)), 9)).toThrow("no outcome of input 0");
  });

  it("count as far as they can be believed, each line told once", () => {
    const outcomes = collectOutcomes(0, none);
    expect(() => outcomes.accept(0, bytes(ok(0), line(1, {}), ok(2), ok(3)), 3)).toThrow("input 3, which it was not");
    expect(outcomes.next()).toBe(3);
    const { lines, succeeded, failed } = outcomes.close();
    expect([succeeded, failed]).toEqual([2, 1]);
    expect(
      lines
        .toString()
        .split("\n")
        .filter(Boolean)
        .map((text) => JSON.parse(text).index),
    ).toEqual([0, 1, 2]);
  });

  it.each([
    ["no JSON", "nonsense\n"],
    ["no object", "[0]\n"],
    ["null", "null\n"],
    ["another index", ok(7)],
    ["an index in words", '{"index":"0","result":1}\n'],
    ["no outcome", '{"index":0}\n'],
    ["a pickle that is none", '{"index":0,"pickle":1}\n'],
    ["an error without a code", '{"index":0,"error":{}}\n'],
    ["no end", '{"index":0,"result":1}'],
    ["an empty line", "\n"],
    ["more than there is", '{"index":0,"result":1,"more":2}\n'],
  ])("with %s are refused", (_what, text) => {
    const outcomes = collectOutcomes(0, none);
    expect(() => outcomes.accept(0, Buffer.from(text), 9)).toThrow(FabricError);
    expect(outcomes.close()).toMatchObject({ succeeded: 0, failed: 0, lines: Buffer.alloc(0) });
  });

  it("that are not UTF-8 are refused", () => {
    const hostile = Buffer.concat([Buffer.from('{"index":0,"result":"'), Buffer.from([0xff]), Buffer.from('"}\n')]);
    expect(() => collectOutcomes(0, none).accept(0, hostile, 9)).toThrow("not UTF-8");
  });

  it("cannot claim a cancel or a timeout that nobody asked for", () => {
    const outcomes = collectOutcomes(0, none);
    outcomes.accept(0, bytes(line(0, { code: "cancelled" }), line(1, { code: "timed_out" })), 9, "timed_out");
    const codes = outcomes
      .close()
      .lines.toString()
      .split("\n")
      .filter(Boolean)
      .map((text) => JSON.parse(text).error.code);
    expect(codes).toEqual(["exception", "timed_out"]);
  });
});
