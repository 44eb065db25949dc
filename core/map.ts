/** A map: one invocation of many inputs, which wait in pages and are claimed in slices; each slice leaves a block of outcomes. */
import type { ErrorBody } from "./errors.ts";

/** Inputs are lines of NDJSON: positional arguments as an array, `{"args", "kwargs"}`, or `{"pickle": base64 of (args, kwargs)}`. */
export const MAX_LINE_BYTES = 768 * 1024;
/** Inputs posted together are stored in pages of at most so many; a page goes to a container in one frame at most. */
export const PAGE_INPUTS = 1_000;
export const PAGE_BYTES = 256 * 1024;
/** Pages of one map that may wait in Redis; further ones wait in the bucket. */
export const INLINE_PAGES_BYTES = 8 * 1024 * 1024;

/** Inputs of one map that may wait or run; its sender is held up meanwhile. */
export const MAX_WAITING_INPUTS = 1_000_000;

/** Bucket keys of a map. */
export const pageKey = (map: string, first: number): string => `invocations/${map}/pages/${first}`;
export const blockKey = (slice: string, generation: number): string => {
  const dot = slice.indexOf(".");
  return `invocations/${slice.slice(0, dot)}/blocks/${slice.slice(dot + 1)}-${generation}`;
};

/** The counts of a map, in its record. */
export interface MapCounts {
  /** Inputs accepted so far. */
  total: number;
  /** No more inputs will come. */
  sealed: boolean;
  /** Inputs that have ended, failed ones included. */
  done: number;
  failed: number;
  /** Bytes of pages that wait in Redis. */
  inlineBytes: number;
}

/** A range of a map's inputs, with a record of its own: it is claimed, leased, requeued and expired like any invocation. */
export interface SliceFacts {
  /** Id of the map's invocation. */
  map: string;
  /** Index of its first input. */
  first: number;
  count: number;
  /** Index of the first input of the page that holds them. */
  page: number;
  /** One of these inputs ended its container: each is to have an attempt of its own. */
  solo: boolean;
}

/** What a block of outcomes starts with; the lines of its inputs follow behind a newline, or are in the bucket under `key`. */
export interface BlockHead {
  first: number;
  count: number;
  key?: string;
  /** All of its inputs ended with this error; there are no lines. */
  error?: ErrorBody;
}

export interface Block {
  head: BlockHead;
  lines?: Buffer;
}

export const encodeBlock = (head: BlockHead, lines?: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), lines ?? Buffer.alloc(0)]);

export function decodeBlock(block: Buffer): Block {
  const end = block.indexOf(0x0a);
  const head = JSON.parse(block.toString("utf8", 0, end)) as BlockHead;
  return { head, ...(head.key || head.error ? {} : { lines: block.subarray(end + 1) }) };
}

/** The outcome lines of inputs that all ended with one error. */
export function errorLines({ first, count, error }: BlockHead): Buffer {
  const told = JSON.stringify(error);
  let lines = "";
  for (let index = first; index < first + count; index++) lines += `{"index":${index},"error":${told}}\n`;
  return Buffer.from(lines);
}

/** How long a slice should keep its slot: long enough to make its steps cheap, short enough that results and cancels flow. */
const SLICE_MS = 50;

/** How many inputs to take at once; `inputMs` is what one takes, as a moving average, unknown before the first. */
export const inputsToTake = (inputMs: number | undefined): number =>
  inputMs === undefined ? 1 : Math.max(1, Math.min(PAGE_INPUTS, Math.floor(SLICE_MS / Math.max(inputMs, 0.001))));

/** Where each line of a page starts and ends, so that a range of its inputs is one slice. */
export function lineOffsets(page: Buffer): number[] {
  const starts = [0];
  for (let at = page.indexOf(0x0a); at >= 0; at = page.indexOf(0x0a, at + 1)) starts.push(at + 1);
  return starts;
}
