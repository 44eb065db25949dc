/** Curves as a picture. */
import { inflateSync } from "node:zlib";
import { expect, it } from "vitest";
import { axis, chart, panelsOf } from "../../../sdk/cli/chart/chart.ts";

const curve = (metric: string, ...ys: number[]) => ({ metric, points: ys.map((y, x) => ({ x, y })) });

it("numbers its axes by round numbers that span what is drawn", () => {
  expect(axis([0.13, 0.87], 5, false)).toEqual({ low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] });
  expect(axis([3, 1_990], 8, true)).toEqual({ low: 3, high: 1_990, ticks: [500, 1_000, 1_500] });
  expect(axis([5], 8, true)).toEqual({ low: 4, high: 6, ticks: [4, 5, 6] });
  expect(axis([0, 0], 5, false).ticks).toContain(0);
  expect(axis([5e-5, 2e-6], 5, false).ticks).toEqual([0, 1e-5, 2e-5, 3e-5, 4e-5, 5e-5]);
});

it("shows metrics of one kind together, not more than there are colours", () => {
  const names = (curves: { metric: string }[][]) => curves.map((panel) => panel.map(({ metric }) => metric));
  expect(names(panelsOf([curve("loss", 1), curve("acc", 1), curve("eval/loss", 1)]))).toEqual([
    ["loss", "eval/loss"],
    ["acc"],
  ]);
  expect(panelsOf(Array.from({ length: 17 }, (_, i) => curve(`${i}_loss`, 1))).map((one) => one.length)).toEqual([
    8, 8, 1,
  ]);
});

it("is a PNG with a panel for each kind, in which each curve has its colour", () => {
  const picture = chart("bert \u00fc", [curve("loss", 3, 1, 2), curve("val_loss", 2, 1.5, 1), curve("acc", 0.5)]);
  expect(picture.subarray(0, 8).toString("hex")).toBe("89504e470d0a1a0a");
  const [width, height] = [picture.readUInt32BE(16), picture.readUInt32BE(20)];
  expect([width, height]).toEqual([1_000, 644]);
  const pixels = inflateSync(picture.subarray(41, 41 + picture.readUInt32BE(33)));
  expect(pixels.length).toBe((width * 3 + 1) * height);
  const coloured = (color: number, from: number, to: number): number => {
    let count = 0;
    for (let y = from; y < to; y++)
      for (let x = 0; x < width; x++) if (pixels.readUIntBE(y * (width * 3 + 1) + 1 + x * 3, 3) === color) count++;
    return count;
  };
  for (const color of [0x1f77b4, 0xd9480f]) expect(coloured(color, 80, 340)).toBeGreaterThan(500);
  expect(coloured(0xd9480f, 344, 644)).toBe(0);
  expect(coloured(0x1f77b4, 380, 600)).toBeGreaterThan(10);
});
