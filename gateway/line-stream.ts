/** A reply of JSON lines that is made while it is read: it waits for a slow reader, and ends when the reader goes. */
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { told } from "./error-reply.ts";

export interface LineWriter {
  /** Resolves when the reader wants more. Throws the signal's reason once the reader has gone. */
  write(line: object): Promise<void>;
  /** Does not wait: for what must not be slowed down and is not endless. After the reader has gone, nothing. */
  push(line: object): void;
  /** An empty line: proxies and clients see that the connection lives. */
  heartbeat(): void;
}

export const HEARTBEAT_MS = 15_000;

export function lineStream(
  { clock, log }: { clock: Clock; log: Log },
  produce: (out: LineWriter, signal: AbortSignal) => Promise<void>,
): Response {
  const gone = new AbortController();
  let wanted = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const out: LineWriter = {
        async write(line) {
          gone.signal.throwIfAborted();
          controller.enqueue(Buffer.from(`${JSON.stringify(line)}\n`));
          if ((controller.desiredSize ?? 1) <= 0) await new Promise<void>((resolve) => (wanted = resolve));
          gone.signal.throwIfAborted();
        },
        push(line) {
          if (!gone.signal.aborted) controller.enqueue(Buffer.from(`${JSON.stringify(line)}\n`));
        },
        heartbeat() {
          if (!gone.signal.aborted && (controller.desiredSize ?? 0) > 0) controller.enqueue(NEWLINE);
        },
      };
      void run(out, controller);
    },
    pull: () => wanted(),
    cancel() {
      gone.abort(new Error("the client closed the connection"));
      wanted();
    },
  });

  async function run(out: LineWriter, controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    let stopBeating = () => {};
    const beat = () => {
      out.heartbeat();
      stopBeating = clock.after(HEARTBEAT_MS, beat);
    };
    stopBeating = clock.after(HEARTBEAT_MS, beat);
    try {
      await produce(out, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) out.push({ type: "error", error: told(error, log).toBody() });
    } finally {
      stopBeating();
    }
    if (!gone.signal.aborted) controller.close();
  }

  return new Response(body, {
    headers: { "Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "X-Accel-Buffering": "no" },
  });
}

const NEWLINE = Buffer.from("\n");
