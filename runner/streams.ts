/** Byte streams inside one shim connection: each side sends only what the other has granted. */
import { Readable } from "node:stream";
import { FabricError, fail } from "../core/errors.ts";
import { type FromShim, STREAM_WINDOW_BYTES, type ToShim } from "../core/protocol.ts";

export type StreamFrame = Extract<FromShim, { type: `stream.${string}` }>;

/** Of one data frame. */
const PIECE_BYTES = 128 * 1024;
/** Streams a shim may have open towards us. */
const MAX_INCOMING = 64;

export interface Streams {
  /** The number of the next stream we open; even. */
  reserve(): number;
  /** Sends `source` as stream `number`; resolves when its end is sent, rejects when either side gives up. */
  send(number: number, name: string, source: Readable): Promise<void>;
  /** Bytes of a stream that the shim opens, or has opened. Destroying the result cancels the stream. */
  receive(number: number): Readable;
  /** A frame of the shim. Throws `protocol_violation`. */
  accept(frame: StreamFrame, body: Buffer): void;
  /** The connection is gone: everything open fails. */
  close(error: Error): void;
}

interface Outgoing {
  credit: number;
  wake: () => void;
  cancelled?: FabricError;
}

interface Incoming {
  pieces: Buffer[];
  granted: number;
  ended: boolean;
  error?: Error;
  wake: () => void;
  body?: Readable;
}

const cancelledBy = (why: string): FabricError => new FabricError("internal", `the stream was cancelled: ${why}`);

/** Numbers of streams that the runner of another node opens: nobody on this one has so many. */
export const FAR_STREAMS = 2 ** 40;

/** `send` puts a frame on the wire and resolves when the connection takes more. The numbers of those we open are above `first`. */
export function createStreams(send: (header: ToShim, body?: Buffer) => Promise<void>, first = 0): Streams {
  const outgoing = new Map<number, Outgoing>();
  const incoming = new Map<number, Incoming>();
  let next = first;

  async function sendPieces(number: number, out: Outgoing, source: Readable): Promise<void> {
    for await (const chunk of source) {
      let rest: Buffer = Buffer.from(chunk);
      while (rest.length > 0) {
        while (out.credit === 0 && !out.cancelled) await new Promise<void>((resolve) => (out.wake = resolve));
        if (out.cancelled) throw out.cancelled;
        const piece = rest.subarray(0, Math.min(out.credit, PIECE_BYTES));
        out.credit -= piece.length;
        rest = rest.subarray(piece.length);
        await send({ type: "stream.data", stream: number }, piece);
      }
    }
    if (out.cancelled) throw out.cancelled;
    await send({ type: "stream.end", stream: number });
  }

  function entry(number: number): Incoming {
    const known = incoming.get(number);
    if (known) return known;
    if (number % 2 === 0) fail("protocol_violation", `stream ${number} is not a shim's number`);
    if (incoming.size >= MAX_INCOMING) fail("protocol_violation", "too many open streams");
    const made: Incoming = { pieces: [], granted: 0, ended: false, wake: () => {} };
    incoming.set(number, made);
    return made;
  }

  async function* consume(number: number, from: Incoming): AsyncGenerator<Buffer> {
    for (;;) {
      const piece = from.pieces.shift();
      if (piece) {
        yield piece;
        from.granted += piece.length;
        if (!from.ended) await send({ type: "stream.credit", stream: number, bytes: piece.length });
      } else if (from.error) throw from.error;
      else if (from.ended) return;
      else await new Promise<void>((resolve) => (from.wake = resolve));
    }
  }

  function forget(number: number, from: Incoming): void {
    incoming.delete(number);
    if (from.ended || from.error) return;
    from.error = cancelledBy("not wanted");
    from.wake();
    void send({ type: "stream.cancel", stream: number, reason: "not wanted" });
  }

  function take(frame: Extract<StreamFrame, { type: "stream.data" }>, body: Buffer): void {
    const from = incoming.get(frame.stream);
    // A stream we cancelled may still have bytes on their way.
    if (!from) return;
    from.granted -= body.length;
    if (from.ended || from.granted < 0) fail("protocol_violation", `stream ${frame.stream} sent more than was granted`);
    from.pieces.push(Buffer.from(body));
    from.wake();
  }

  function open(number: number): void {
    if (incoming.get(number)?.granted) fail("protocol_violation", `stream ${number} is open already`);
    entry(number).granted = STREAM_WINDOW_BYTES;
    void send({ type: "stream.credit", stream: number, bytes: STREAM_WINDOW_BYTES });
  }

  function cancel(number: number, reason: string): void {
    const out = outgoing.get(number);
    if (out) {
      out.cancelled = cancelledBy(reason);
      out.wake();
    }
    const from = incoming.get(number);
    if (from) {
      from.error = cancelledBy(reason);
      from.wake();
    }
  }

  return {
    reserve() {
      next += 2;
      return next;
    },

    async send(number, name, source) {
      const out: Outgoing = { credit: 0, wake: () => {} };
      outgoing.set(number, out);
      try {
        await send({ type: "stream.open", stream: number, name });
        await sendPieces(number, out, source);
      } catch (thrown) {
        source.destroy();
        if (!out.cancelled)
          await send({
            type: "stream.cancel",
            stream: number,
            reason: String((thrown as Error).message).slice(0, 1024),
          });
        throw thrown;
      } finally {
        outgoing.delete(number);
      }
    },

    receive(number) {
      const from = entry(number);
      if (from.body) fail("protocol_violation", `stream ${number} is used twice`);
      from.body = Readable.from(consume(number, from), { objectMode: false });
      from.body.once("close", () => forget(number, from));
      return from.body;
    },

    accept(frame, body) {
      if (frame.type === "stream.open") open(frame.stream);
      else if (frame.type === "stream.data") take(frame, body);
      else if (frame.type === "stream.cancel") cancel(frame.stream, frame.reason);
      else if (frame.type === "stream.end") {
        const from = incoming.get(frame.stream);
        if (from) {
          from.ended = true;
          from.wake();
        }
      } else {
        const out = outgoing.get(frame.stream);
        if (out) {
          out.credit += frame.bytes;
          out.wake();
        }
      }
    },

    close(error) {
      for (const out of outgoing.values()) {
        out.cancelled = new FabricError("internal", error.message);
        out.wake();
      }
      for (const from of incoming.values()) {
        from.error = error;
        from.wake();
      }
    },
  };
}
