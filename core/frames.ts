/** Frames on a byte stream: encoding, and a decoder that holds back until a frame is whole. */
import { FabricError } from "./errors.ts";
import { MAX_BODY_BYTES, MAX_HEADER_BYTES } from "./protocol.ts";

const PREFIX = 8;

const NOTHING = new Uint8Array();

export function encodeFrame(header: object, body: Uint8Array = NOTHING): Buffer {
  const head = JSON.stringify(header);
  const length = Buffer.byteLength(head);
  const frame = Buffer.allocUnsafe(PREFIX + length + body.length);
  frame.writeUInt32BE(length, 0);
  frame.writeUInt32BE(body.length, 4);
  frame.write(head, PREFIX);
  frame.set(body, PREFIX + length);
  return frame;
}

export interface Frame {
  header: unknown;
  body: Buffer;
}

/** Call with each chunk as it arrives; yields the frames that are whole. Throws `protocol_violation` on sizes beyond the limits. */
export function frameDecoder(
  most = { headerBytes: MAX_HEADER_BYTES, bodyBytes: MAX_BODY_BYTES },
): (chunk: Buffer) => Frame[] {
  let chunks: Buffer[] = [];
  let held = 0;
  let wanted = PREFIX;
  return (chunk) => {
    chunks.push(chunk);
    held += chunk.length;
    if (held < wanted) return [];
    let buffer = chunks.length === 1 ? chunk : Buffer.concat(chunks, held);
    const frames: Frame[] = [];
    wanted = PREFIX;
    while (buffer.length >= PREFIX) {
      const headLength = buffer.readUInt32BE(0);
      const bodyLength = buffer.readUInt32BE(4);
      if (headLength > most.headerBytes || bodyLength > most.bodyBytes)
        throw new FabricError("protocol_violation", `a frame of ${headLength} + ${bodyLength} bytes is over the limit`);
      const total = PREFIX + headLength + bodyLength;
      if (buffer.length < total) {
        wanted = total;
        break;
      }
      frames.push({
        header: parseHeader(buffer.subarray(PREFIX, PREFIX + headLength)),
        body: buffer.subarray(PREFIX + headLength, total),
      });
      buffer = buffer.subarray(total);
    }
    chunks = buffer.length > 0 ? [buffer] : [];
    held = buffer.length;
    return frames;
  };
}

function parseHeader(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new FabricError("protocol_violation", "a frame's header is not JSON", undefined, { cause });
  }
}
