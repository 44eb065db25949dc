/** A reply of JSON lines, or of server-sent events that hold them, that is made while it is read. */
import { type LiveDeps, liveReply } from "./live-reply.ts";

export interface LineWriter {
  /** Resolves when the reader wants more. Throws the signal's reason once the reader has gone. */
  write(line: object): Promise<void>;
  /** Does not wait: for what must not be slowed down and is not endless. After the reader has gone, nothing. */
  push(line: object): void;
  /** An empty line: proxies and clients see that the connection lives. */
  heartbeat(): void;
}

/** As events, a line's `seq` is the event's id, with which a client goes on after a lost connection. */
export type LineForm = "ndjson" | "sse";

const FORMS = {
  ndjson: {
    contentType: "application/x-ndjson",
    heartbeat: Buffer.from("\n"),
    encode: (line: object) => Buffer.from(`${JSON.stringify(line)}\n`),
  },
  sse: {
    contentType: "text/event-stream",
    heartbeat: Buffer.from(":\n\n"),
    encode: (line: object) =>
      Buffer.from(`${"seq" in line ? `id: ${line.seq}\n` : ""}data: ${JSON.stringify(line)}\n\n`),
  },
};

export function lineStream(
  deps: LiveDeps,
  produce: (out: LineWriter, signal: AbortSignal) => Promise<void>,
  form: LineForm = "ndjson",
): Response {
  const { encode, contentType, heartbeat } = FORMS[form];
  const problem = (error: object): Buffer => encode({ type: "error", error });
  return liveReply(deps, { contentType, heartbeat, problem }, (out, signal) =>
    produce(
      {
        write: (line) => out.write(encode(line)),
        push: (line) => out.push(encode(line)),
        heartbeat: out.heartbeat,
      },
      signal,
    ),
  );
}
