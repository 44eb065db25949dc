/** The checker of generators under faults finds what it is there to find. */
import { expect, test } from "vitest";
import { type StreamLine, streamViolations } from "../../support/stream-checker.ts";

const chunk = (id: string): StreamLine => ({ type: "chunk", id, value: Number(id.split("-")[1]) });
const restart = (generation: number): StreamLine => ({ type: "restart", generation });
const END: StreamLine = { type: "end", state: "succeeded" };
const whole = [{ type: "state", state: "running" }, chunk("1-0"), chunk("1-1"), END];

const found = (live: StreamLine[], after: StreamLine[] = whole): string =>
  streamViolations({ live, after }, [0, 1]).join("\n");

test("a whole stream breaks no promise, nor does one that starts over and says so", () => {
  expect(found(whole)).toBe("");
  expect(found([chunk("1-0"), restart(2), chunk("2-0"), chunk("2-1"), END])).toBe("");
  expect(found([chunk("2-0"), chunk("2-1"), END])).toBe("");
});

test("repeats, gaps and attempts that were not announced are found", () => {
  expect(found([chunk("1-0"), chunk("1-0"), chunk("1-1"), END])).toContain("live, has chunk 1-0 in place 1");
  expect(found([chunk("1-1"), END])).toContain("has chunk 1-1 in place 0");
  expect(found([chunk("1-0"), chunk("2-1"), END])).toContain("not announced");
  expect(found([chunk("1-0"), restart(1), chunk("1-0"), chunk("1-1"), END])).toContain("starts over as 1 after 1");
});

test("streams that are not whole, have no end or go on behind it are found", () => {
  expect(found([chunk("1-0"), END])).toContain("live, ended succeeded after [0]");
  expect(found(whole, [])).toContain("after, ended undefined");
  expect(found(whole, [...whole.slice(0, -1), { type: "end", state: "failed" }])).toContain("after, ended failed");
  expect(found([...whole, chunk("1-2")])).toContain("has a chunk behind its end");
});
