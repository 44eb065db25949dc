/** What happens to an invocation, and as a line of JSON: values pass through as the function made them. */
import type { Chunk } from "./chunks.ts";
import type { InvocationRecord, InvocationState } from "./invocation.ts";

export type InvocationEvent =
  | { type: "state"; id: string; state: InvocationState; generation: number; reason: string }
  | { type: "chunk"; generation: number; n: number; chunk: Chunk }
  /** What was yielded before is void: chunk 0 of this generation follows. */
  | { type: "restart"; generation: number }
  | { type: "end"; record: InvocationRecord };

/** Where a reader is among what a generator yields. */
export interface Position {
  generation: number;
  next: number;
}

export const chunkId = (generation: number, n: number): string => `${generation}-${n}`;

/** The position behind the chunk of this id; `undefined` when it is none. */
export function positionAfter(id: string): Position | undefined {
  const found = /^([1-9]\d{0,8})-(\d{1,15})$/.exec(id);
  return found ? { generation: Number(found[1]), next: Number(found[2]) + 1 } : undefined;
}

/** Raw line ends may stand between the parts of JSON only, where a space means the same. */
export const inLine = (body: Buffer): string => {
  const text = body.toString("utf8");
  return /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, " ") : text;
};
export const base64 = (body: Buffer): string => `"${body.toString("base64")}"`;

/** Members of the JSON object that an event without a chunk is. */
export function members(event: Exclude<InvocationEvent, { type: "chunk" }>): string {
  if (event.type !== "end") {
    const { type, ...rest } = event;
    return JSON.stringify(rest).slice(1, -1);
  }
  const { id, state, result, error } = event.record;
  const head = `"id":"${id}","state":"${state}"`;
  if (!result) return `${head},"error":${JSON.stringify(error ?? null)}`;
  if (!result.inline) return `${head},"location":"/v1/invocations/${id}/result"`;
  return result.encoding === "pickle"
    ? `${head},"pickle":${base64(result.inline)}`
    : `${head},"result":${inLine(result.inline)}`;
}

export function eventLine(event: InvocationEvent): string {
  if (event.type !== "chunk") return `{"type":"${event.type}",${members(event)}}\n`;
  const { generation, n, chunk } = event;
  const value = chunk.encoding === "pickle" ? `"pickle":${base64(chunk.body)}` : `"value":${inLine(chunk.body)}`;
  return `{"type":"chunk","id":"${chunkId(generation, n)}",${value}}\n`;
}
