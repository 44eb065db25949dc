/** Curves in the terminal. */
import { expect, it } from "vitest";
import type { MetricsRow } from "../../../core/checkpoint-metrics.ts";
import { curves } from "../../../sdk/cli/commands/checkpoint-metrics.ts";
import { plot } from "../../../sdk/cli/plot.ts";

it("draws a falling curve from the upper left to the lower right", () => {
  const lines = plot(
    [4, 3, 2, 1].map((y, x) => ({ x, y })),
    { width: 13, height: 4 },
  );
  expect(lines).toHaveLength(5);
  expect(lines[0]).toMatch(/^4 ┤[\u2801-\u28ff]+$/);
  expect(lines[3]).toMatch(/^1 ┤ {4,}[\u2801-\u28ff]+$/);
  expect(lines[4]).toMatch(/^ {3}0 +3$/);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(13);
});

it("draws what is there: one point, a level line, nothing", () => {
  expect(plot([])).toEqual([]);
  expect(plot([{ x: 1, y: Number.NaN }])).toEqual([]);
  expect(plot([{ x: 5, y: 2 }], { width: 20, height: 3 })).toHaveLength(4);
  const level = plot(
    [0, 1, 2].map((x) => ({ x, y: 7 })),
    { width: 20, height: 3 },
  );
  expect(level.filter((line) => /[\u2801-\u28ff]/.test(line))).toHaveLength(1);
});

it("makes a curve of every metric that is a number, and takes a step's last report", () => {
  const row = (step: number, metrics: MetricsRow["metrics"]): MetricsRow => ({
    ...{ step, metrics, at: "", invocation: "inv_1", generation: 1, request: step, checkpoint: false },
  });
  const rows = [row(0, { loss: 9, name: "x" }), row(1, { loss: 2, acc: 0.5 }), row(0, { loss: 3 })];
  expect(curves(rows, undefined).map(({ metric }) => metric)).toEqual(["loss", "acc"]);
  expect(curves(rows, "loss")[0]!.points).toEqual([
    { x: 0, y: 3 },
    { x: 1, y: 2 },
  ]);
  expect(curves(rows, "name")).toEqual([]);
});
