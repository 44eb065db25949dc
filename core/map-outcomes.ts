/** Reads what a map's inputs ended with: its blocks in the order in which they were written, and the lines in them. */
import { type ErrorBody, fail } from "./errors.ts";
import { type Block, decodeBlock, errorLines } from "./map.ts";
import type { ObjectStore } from "./object-store.ts";
import { gather } from "./sized-body.ts";
import type { StateStore } from "./state-store.ts";

interface Deps {
  state: Pick<StateStore, "maps">;
  objects: ObjectStore;
}

export interface OutcomeLine {
  index: number;
  result?: unknown;
  /** Base64, as is the exception's. */
  pickle?: string;
  error?: ErrorBody;
  exception?: string;
}

const BLOCKS_AT_ONCE = 256;

/** A block is about 8 KiB at most, so that whoever reads holds few of them. */
export async function* blocksOf({ state }: Deps, map: string, from = 0): AsyncGenerator<Block> {
  for (let position = from; ; position += BLOCKS_AT_ONCE) {
    const blocks = await state.maps.blocks(map, position, BLOCKS_AT_ONCE);
    for (const block of blocks) yield decodeBlock(block);
    if (blocks.length < BLOCKS_AT_ONCE) return;
  }
}

export async function linesOf(objects: ObjectStore, { head, lines }: Block): Promise<Buffer> {
  if (lines) return lines;
  if (head.error) return errorLines(head);
  const object = await objects.get(head.key!);
  if (!object) fail("internal", `the outcomes ${head.key} are not in the bucket`);
  return gather(object.body, object.length);
}

export const parseLines = (lines: Buffer): OutcomeLine[] =>
  lines
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** Inputs tried again have their outcome in a later block than the first one that spans them. */
export async function outcomeOf(deps: Deps, map: string, index: number): Promise<OutcomeLine | undefined> {
  for await (const block of blocksOf(deps, map)) {
    const { first, count } = block.head;
    if (index < first || index >= first + count) continue;
    const found = parseLines(await linesOf(deps.objects, block)).find((line) => line.index === index);
    if (found) return found;
  }
  return undefined;
}

/** Indexes of the inputs that ended with an error. */
export async function failedInputs(deps: Deps, map: string): Promise<Set<number>> {
  const failed = new Set<number>();
  for await (const block of blocksOf(deps, map)) {
    const { first, count, error } = block.head;
    if (error) for (let index = first; index < first + count; index++) failed.add(index);
    else for (const line of parseLines(await linesOf(deps.objects, block))) if (line.error) failed.add(line.index);
  }
  return failed;
}
