/** A picture to draw on: rectangles, smooth lines, and text of square dots. */
import { eachDot, GLYPH_HEIGHT, GLYPH_WIDTH } from "./glyphs.ts";
import { png } from "./png.ts";

/** 0xrrggbb. */
export type Color = number;

const DOT = 2;
export const TEXT_HEIGHT = GLYPH_HEIGHT * DOT;
export const textWidth = (text: string): number => Math.max(0, [...text].length * (GLYPH_WIDTH + 1) - 1) * DOT;

export interface Canvas {
  fill(x: number, y: number, width: number, height: number, color: Color): void;
  line(from: readonly [number, number], to: readonly [number, number], width: number, color: Color): void;
  text(x: number, y: number, text: string, color: Color): void;
  png(): Buffer;
}

export function createCanvas(width: number, height: number, background: Color): Canvas {
  const rgb = new Uint8Array(width * height * 3);

  function blend(x: number, y: number, color: Color, share: number): void {
    if (x < 0 || y < 0 || x >= width || y >= height || share <= 0) return;
    const at = (y * width + x) * 3;
    for (const [i, shift] of [16, 8, 0].entries()) {
      const wanted = (color >> shift) & 0xff;
      rgb[at + i] = Math.round(rgb[at + i]! + (wanted - rgb[at + i]!) * Math.min(1, share));
    }
  }

  function fill(x: number, y: number, w: number, h: number, color: Color): void {
    for (let row = y; row < y + h; row++) for (let column = x; column < x + w; column++) blend(column, row, color, 1);
  }

  fill(0, 0, width, height, background);
  return {
    fill,
    line([x0, y0], [x1, y1], thick, color) {
      const reach = thick / 2 + 1;
      for (let y = Math.floor(Math.min(y0, y1) - reach); y <= Math.max(y0, y1) + reach; y++)
        for (let x = Math.floor(Math.min(x0, x1) - reach); x <= Math.max(x0, x1) + reach; x++)
          blend(x, y, color, thick / 2 + 0.5 - distance([x, y], [x0, y0], [x1, y1]));
    },
    text(x, y, text, color) {
      eachDot(text, (column, row) => fill(x + column * DOT, y + row * DOT, DOT, DOT, color));
    },
    png: () => png(width, height, rgb),
  };
}

/** From a point to the nearest one between two others. */
function distance([x, y]: [number, number], [x0, y0]: [number, number], [x1, y1]: [number, number]): number {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length));
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}
