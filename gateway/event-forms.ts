/** The events of an invocation as bytes: server-sent events, or JSON lines. Values pass through as the function made them. */
import { base64, chunkId, eventLine, type InvocationEvent, inLine, members } from "../core/invocation-event.ts";
import type { LiveForm } from "./live-reply.ts";

export interface EventForm extends LiveForm {
  encode(event: InvocationEvent): string;
}

export const EVENT_STREAM: EventForm = {
  contentType: "text/event-stream",
  heartbeat: Buffer.from(": keep-alive\n\n"),
  problem: (error) => Buffer.from(`event: problem\ndata: ${JSON.stringify({ error })}\n\n`),
  encode(event) {
    if (event.type !== "chunk") return `event: ${event.type}\ndata: {${members(event)}}\n\n`;
    const { generation, n, chunk } = event;
    const isPickle = chunk.encoding === "pickle";
    const data = isPickle ? base64(chunk.body) : inLine(chunk.body);
    return `event: ${isPickle ? "pickle" : "chunk"}\nid: ${chunkId(generation, n)}\ndata: ${data}\n\n`;
  },
};

export const JSON_LINES: EventForm = {
  contentType: "application/x-ndjson",
  heartbeat: Buffer.from("\n"),
  problem: (error) => Buffer.from(`${JSON.stringify({ type: "error", error })}\n`),
  encode: eventLine,
};

/** The form that an Accept header asks for by its name; `undefined` for one that asks for neither. */
export function eventForm(accept: string | undefined): EventForm | undefined {
  if (accept === undefined) return undefined;
  if (accept.includes(EVENT_STREAM.contentType)) return EVENT_STREAM;
  return accept.includes(JSON_LINES.contentType) ? JSON_LINES : undefined;
}
