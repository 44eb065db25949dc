/** Docker's log answer as text: frames of an 8-byte header (stream, 3 zero bytes, length) and that many bytes. */

const HEADER_BYTES = 8;

export const STDOUT = 1;
export const STDERR = 2;

export function demultiplex(frames: Buffer, stream?: typeof STDOUT | typeof STDERR): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at + HEADER_BYTES <= frames.length; ) {
    const length = frames.readUInt32BE(at + 4);
    if (stream === undefined || frames[at] === stream)
      parts.push(frames.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
    at += HEADER_BYTES + length;
  }
  return Buffer.concat(parts);
}

/** The end of `bytes` as text, without the broken half of a character at the cut. */
export function lastBytes(bytes: Buffer, maxBytes: number): string {
  let from = Math.max(0, bytes.length - maxBytes);
  while (from > 0 && from < bytes.length && (bytes[from]! & 0xc0) === 0x80) from++;
  return bytes.subarray(from).toString("utf8");
}
