/** A reply that is made while it is read: it waits for a slow reader, and ends when the reader goes. */
import type { Clock } from "../core/clock.ts";
import type { ErrorBody } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { told } from "./error-reply.ts";

export interface LiveDeps {
  clock: Clock;
  log: Log;
}

export interface LiveForm {
  contentType: string;
  /** Sent from time to time: proxies and clients see that the connection lives. */
  heartbeat: Buffer;
  /** How the reader is told that no more can come, and why. */
  problem(error: ErrorBody): Buffer;
  headers?: Record<string, string>;
}

export interface LiveWriter {
  /** Resolves when the reader wants more. Throws the signal's reason once the reader has gone. */
  write(bytes: Buffer): Promise<void>;
  /** Does not wait: for what must not be slowed down and is not endless. After the reader has gone, nothing. */
  push(bytes: Buffer): void;
  heartbeat(): void;
}

export const HEARTBEAT_MS = 15_000;

export function liveReply(
  { clock, log }: LiveDeps,
  form: LiveForm,
  produce: (out: LiveWriter, signal: AbortSignal) => Promise<void>,
): Response {
  const gone = new AbortController();
  let wanted = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const out: LiveWriter = {
        async write(bytes) {
          gone.signal.throwIfAborted();
          controller.enqueue(bytes);
          if ((controller.desiredSize ?? 1) <= 0) await new Promise<void>((resolve) => (wanted = resolve));
          gone.signal.throwIfAborted();
        },
        push(bytes) {
          if (!gone.signal.aborted) controller.enqueue(bytes);
        },
        heartbeat() {
          if (!gone.signal.aborted && (controller.desiredSize ?? 0) > 0) controller.enqueue(form.heartbeat);
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

  async function run(out: LiveWriter, controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    let stopBeating = () => {};
    const beat = () => {
      out.heartbeat();
      stopBeating = clock.after(HEARTBEAT_MS, beat);
    };
    stopBeating = clock.after(HEARTBEAT_MS, beat);
    try {
      await produce(out, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) out.push(form.problem(told(error, log).toBody()));
    } finally {
      stopBeating();
    }
    if (!gone.signal.aborted) controller.close();
  }

  return new Response(body, {
    headers: {
      "Content-Type": form.contentType,
      "Cache-Control": "no-store",
      "X-Accel-Buffering": "no",
      ...form.headers,
    },
  });
}
