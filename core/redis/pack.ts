/** MessagePack lists of strings, as scripts read them with cmsgpack: one argument of many values costs far less than many arguments. */

export type Packed = string | number | Buffer | readonly Packed[];

const LIST = 0xdd;
const STRING = 0xdb;
/** Of both, followed by a length of four bytes. */
const HEAD = 5;

export function pack(list: readonly Packed[]): Buffer {
  const bytes = Buffer.allocUnsafe(room(list));
  return bytes.subarray(0, write(bytes, 0, list));
}

/** At most; a character of a string has up to three bytes. */
function room(one: Packed): number {
  if (typeof one === "string") return HEAD + one.length * 3;
  if (typeof one === "number") return HEAD + 24;
  if (Buffer.isBuffer(one)) return HEAD + one.length;
  return one.reduce((sum: number, each) => sum + room(each), HEAD);
}

/** Answers where it ends. */
function write(bytes: Buffer, at: number, one: Packed): number {
  const start = at + HEAD;
  if (Array.isArray(one)) {
    bytes[at] = LIST;
    bytes.writeUInt32BE(one.length, at + 1);
    return one.reduce((end: number, each) => write(bytes, end, each), start);
  }
  const length = Buffer.isBuffer(one) ? one.copy(bytes, start) : bytes.write(String(one), start);
  bytes[at] = STRING;
  bytes.writeUInt32BE(length, at + 1);
  return start + length;
}
