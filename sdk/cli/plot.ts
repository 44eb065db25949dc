/** Draws a curve in the terminal, four dots high and two wide in each character. */

export interface Point {
  x: number;
  y: number;
}

/** Braille characters: each bit is one of eight dots. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;
const EMPTY = 0x2800;

/** Lines of text, at most `width` wide; none without a finite point. */
export function plot(points: readonly Point[], { width = 72, height = 10 } = {}): string[] {
  const known = points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)).sort((a, b) => a.x - b.x);
  if (known.length === 0) return [];
  const ys = known.map(({ y }) => y).sort((a, b) => a - b);
  const [low, high] = [ys[0]!, ys.at(-1)!];
  const [first, last] = [known[0]!.x, known.at(-1)!.x];
  const labels = [number(high), number(low)];
  const margin = Math.max(...labels.map((label) => label.length));
  const columns = Math.max(1, width - margin - 2);
  const cells = Array.from({ length: height }, () => new Array<number>(columns).fill(EMPTY));
  const across = (x: number): number => scale(x, first, last, columns * 2 - 1);
  const down = (y: number): number => height * 4 - 1 - scale(y, low, high, height * 4 - 1);
  const dot = (x: number, y: number): void => {
    cells[y >> 2]![x >> 1]! |= DOTS[x & 1]![y & 3]!;
  };
  known.forEach(({ x, y }, i) => {
    const before = known[Math.max(0, i - 1)]!;
    line([across(before.x), down(before.y)], [across(x), down(y)], dot);
  });
  const rows = cells.map((row, i) => {
    const label = i === 0 ? labels[0]! : i === height - 1 ? labels[1]! : "";
    return `${label.padStart(margin)} ┤${row.map((cell) => String.fromCharCode(cell)).join("")}`
      .replaceAll("\u2800", " ")
      .trimEnd();
  });
  const [left, right] = [number(first), number(last)];
  const gap = " ".repeat(Math.max(1, columns - left.length - right.length));
  return [...rows, `${" ".repeat(margin + 2)}${left}${first === last ? "" : gap + right}`];
}

const scale = (value: number, from: number, to: number, most: number): number =>
  from === to ? Math.floor(most / 2) : Math.round(((value - from) / (to - from)) * most);

const number = (value: number): string => String(Number(value.toPrecision(4)));

/** Every dot between two, so that a curve of few points is one. */
function line([x0, y0]: [number, number], [x1, y1]: [number, number], dot: (x: number, y: number) => void): void {
  const count = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1);
  for (let i = 0; i <= count; i++)
    dot(Math.round(x0 + ((x1 - x0) * i) / count), Math.round(y0 + ((y1 - y0) * i) / count));
}
