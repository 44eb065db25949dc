/** Curves as a picture: a panel for metrics of one kind, with axes, their numbers and a legend. */
import type { Point } from "../plot.ts";
import { type Canvas, type Color, createCanvas, TEXT_HEIGHT, textWidth } from "./canvas.ts";

export interface Curve {
  metric: string;
  points: readonly Point[];
}

const WIDTH = 1_000;
const PANEL = 300;
const TITLE = 44;
const MARGIN = { left: 120, right: 30, top: 34, bottom: 52 };
const WHITE = 0xffffff;
const INK = 0x24292f;
const PALE = 0xe4e7eb;
const COLORS: readonly Color[] = [0x1f77b4, 0xd9480f, 0x2b8a3e, 0x9c36b5, 0xb8860b, 0x0b7285, 0xc2255c, 0x5c5f66];
/** So many curves share a panel at most. */
const TOGETHER = COLORS.length;

export function chart(title: string, curves: readonly Curve[]): Buffer {
  const panels = panelsOf(curves);
  const canvas = createCanvas(WIDTH, TITLE + panels.length * PANEL, WHITE);
  canvas.text(MARGIN.left, 16, shortened(title, WIDTH - MARGIN.left - MARGIN.right), INK);
  for (const [i, panel] of panels.entries()) drawPanel(canvas, TITLE + i * PANEL, panel);
  return canvas.png();
}

/** `loss`, `val_loss` and `eval/loss` are seen together: what they end on is the same. */
export function panelsOf(curves: readonly Curve[]): Curve[][] {
  const byKind = new Map<string, Curve[][]>();
  for (const curve of curves) {
    const kind = curve.metric.split(/[^A-Za-z0-9]+/).at(-1)!;
    const panels = byKind.get(kind) ?? [];
    byKind.set(kind, panels);
    if (panels.length === 0 || panels.at(-1)!.length === TOGETHER) panels.push([]);
    panels.at(-1)!.push(curve);
  }
  return [...byKind.values()].flat();
}

function drawPanel(canvas: Canvas, top: number, curves: readonly Curve[]): void {
  const all = curves.flatMap(({ points }) => points);
  const xs = axis(
    all.map(({ x }) => x),
    8,
    true,
  );
  const ys = axis(
    all.map(({ y }) => y),
    5,
    false,
  );
  const box = {
    left: MARGIN.left,
    right: WIDTH - MARGIN.right,
    top: top + MARGIN.top,
    bottom: top + PANEL - MARGIN.bottom,
  };
  const across = (x: number): number => box.left + ((x - xs.low) / (xs.high - xs.low)) * (box.right - box.left);
  const down = (y: number): number => box.bottom - ((y - ys.low) / (ys.high - ys.low)) * (box.bottom - box.top);
  for (const y of ys.ticks) {
    const at = Math.round(down(y));
    canvas.fill(box.left, at, box.right - box.left, 1, PALE);
    const label = number(y);
    canvas.text(box.left - 10 - textWidth(label), at - TEXT_HEIGHT / 2, label, INK);
  }
  for (const x of xs.ticks) {
    const at = Math.round(across(x));
    canvas.fill(at, box.bottom, 1, 6, INK);
    const label = number(x);
    canvas.text(
      Math.round(Math.min(at - textWidth(label) / 2, WIDTH - textWidth(label) - 2)),
      box.bottom + 10,
      label,
      INK,
    );
  }
  canvas.text((box.left + box.right - textWidth("step")) >> 1, box.bottom + 30, "step", INK);
  canvas.fill(box.left, box.top, 1, box.bottom - box.top, INK);
  canvas.fill(box.left, box.bottom, box.right - box.left, 1, INK);
  for (const [i, { points }] of curves.entries()) {
    const places = points.map(({ x, y }) => [across(x), down(y)] as const);
    const thick = places.length === 1 ? 6 : 2;
    for (const [n, place] of places.entries()) canvas.line(places[Math.max(0, n - 1)]!, place, thick, COLORS[i]!);
  }
  drawLegend(canvas, box.left, top + 10, curves);
}

function drawLegend(canvas: Canvas, left: number, top: number, curves: readonly Curve[]): void {
  const room = Math.floor((WIDTH - MARGIN.right - left) / curves.length);
  curves.forEach(({ metric, points }, i) => {
    const x = left + i * room;
    canvas.fill(x, top + TEXT_HEIGHT / 2 - 2, 18, 4, COLORS[i]!);
    canvas.text(x + 26, top, shortened(`${metric} ${number(points.at(-1)!.y)}`, room - 36), INK);
  });
}

interface Axis {
  low: number;
  high: number;
  ticks: number[];
}

/** Round numbers, about `count` of them, and what they and the values span. */
export function axis(values: readonly number[], count: number, whole: boolean): Axis {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low === high) {
    const room = whole ? 1 : Math.abs(low) * 0.1 || 1;
    [low, high] = [low - room, high + room];
  }
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(whole ? 1 : 0, power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!);
  // Steps are as they are; of other values the axis goes on to the next round number.
  const first = whole ? Math.ceil(low / step) : Math.floor(low / step + 1e-9);
  const last = whole ? Math.floor(high / step) : Math.ceil(high / step - 1e-9);
  // A multiple of a step is rounded as a text of it would be: 3 * 0.1 is 0.3.
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  return { low: Math.min(low, ticks[0]!), high: Math.max(high, ticks.at(-1)!), ticks };
}

const number = (value: number): string => String(Number(value.toPrecision(5)));

function shortened(text: string, room: number): string {
  let short = text;
  while (textWidth(short) > room && short.length > 1) short = `${short.slice(0, -3)}..`;
  return short;
}
