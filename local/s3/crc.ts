/** The CRCs of S3 that Node does not have, eight bytes at a step, and how two of one kind become that of both bodies. */

export interface Crc {
  update(bytes: Uint8Array): void;
  /** Big-endian, as S3 sends it. */
  digest(): Buffer;
}

/** Reflected polynomials and widths. */
const SHAPE = {
  crc32: { polynomial: 0xedb88320n, width: 32n },
  crc32c: { polynomial: 0x82f63b78n, width: 32n },
  crc64nvme: { polynomial: 0x9a6c9329ac4bc9b5n, width: 64n },
};
export type CrcName = keyof typeof SHAPE;

/** Table k says what a byte does k bytes before the end; low and high halves apart, as numbers hold 32 bits well. */
function tables(name: CrcName): { low: Uint32Array; high: Uint32Array } {
  const { polynomial } = SHAPE[name];
  const low = new Uint32Array(8 * 256);
  const high = new Uint32Array(8 * 256);
  const first: bigint[] = [];
  for (let byte = 0; byte < 256; byte++) {
    let crc = BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ polynomial : crc >> 1n;
    first.push(crc);
  }
  for (let byte = 0; byte < 256; byte++) {
    let crc = first[byte]!;
    for (let k = 0; k < 8; k++) {
      low[k * 256 + byte] = Number(crc & 0xffffffffn);
      high[k * 256 + byte] = Number(crc >> 32n);
      crc = (crc >> 8n) ^ first[Number(crc & 0xffn)]!;
    }
  }
  return { low, high };
}

let tables32c: Uint32Array | undefined;

export function crc32c(): Crc {
  tables32c ??= tables("crc32c").low;
  const t = tables32c;
  let crc = -1;
  return {
    update(bytes) {
      let c = crc;
      let i = 0;
      for (const end = bytes.length - 7; i < end; i += 8) {
        c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
        c =
          t[1792 + (c & 255)]! ^
          t[1536 + ((c >>> 8) & 255)]! ^
          t[1280 + ((c >>> 16) & 255)]! ^
          t[1024 + (c >>> 24)]! ^
          t[768 + bytes[i + 4]!]! ^
          t[512 + bytes[i + 5]!]! ^
          t[256 + bytes[i + 6]!]! ^
          t[bytes[i + 7]!]!;
      }
      for (; i < bytes.length; i++) c = t[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
      crc = c;
    },
    digest() {
      const out = Buffer.alloc(4);
      out.writeInt32BE(~crc);
      return out;
    },
  };
}

let tables64: ReturnType<typeof tables> | undefined;

export function crc64nvme(): Crc {
  tables64 ??= tables("crc64nvme");
  const { low, high } = tables64;
  let lo = -1;
  let hi = -1;
  return {
    update(bytes) {
      let i = 0;
      for (const end = bytes.length - 7; i < end; i += 8) {
        const a = lo ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
        const b = hi ^ (bytes[i + 4]! | (bytes[i + 5]! << 8) | (bytes[i + 6]! << 16) | (bytes[i + 7]! << 24));
        const [k0, k1, k2, k3] = [
          1792 + (a & 255),
          1536 + ((a >>> 8) & 255),
          1280 + ((a >>> 16) & 255),
          1024 + (a >>> 24),
        ];
        const [k4, k5, k6, k7] = [768 + (b & 255), 512 + ((b >>> 8) & 255), 256 + ((b >>> 16) & 255), b >>> 24];
        lo = low[k0]! ^ low[k1]! ^ low[k2]! ^ low[k3]! ^ low[k4]! ^ low[k5]! ^ low[k6]! ^ low[k7]!;
        hi = high[k0]! ^ high[k1]! ^ high[k2]! ^ high[k3]! ^ high[k4]! ^ high[k5]! ^ high[k6]! ^ high[k7]!;
      }
      for (; i < bytes.length; i++) {
        const k = (lo ^ bytes[i]!) & 255;
        lo = ((lo >>> 8) | (hi << 24)) ^ low[k]!;
        hi = (hi >>> 8) ^ high[k]!;
      }
    },
    digest() {
      const out = Buffer.alloc(8);
      out.writeInt32BE(~hi, 0);
      out.writeInt32BE(~lo, 4);
      return out;
    },
  };
}

/** The CRC of a body whose first part has one CRC and whose other part, of `bytes` bytes, has the other. */
export function combineCrc(name: CrcName, first: Buffer, second: Buffer, bytes: number): Buffer {
  const { width } = SHAPE[name];
  const value = multiply(name, shiftBy(name, bytes), toBig(first)) ^ toBig(second);
  return Buffer.from(value.toString(16).padStart(Number(width) / 4, "0"), "hex");
}

const toBig = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString("hex")}`);

const shifts = new Map<string, bigint>();

/** x to the power of 8 * bytes, modulo the polynomial; parts mostly have one size, so the last ones are kept. */
function shiftBy(name: CrcName, bytes: number): bigint {
  const cacheKey = `${name}/${bytes}`;
  const kept = shifts.get(cacheKey);
  if (kept !== undefined) return kept;
  const { width } = SHAPE[name];
  let power = 1n << (width - 1n);
  let square = 1n << (width - 2n);
  for (let n = 8n * BigInt(bytes); n > 0n; n >>= 1n) {
    if (n & 1n) power = multiply(name, power, square);
    square = multiply(name, square, square);
  }
  if (shifts.size > 100) shifts.clear();
  shifts.set(cacheKey, power);
  return power;
}

function multiply(name: CrcName, a: bigint, b: bigint): bigint {
  const { polynomial, width } = SHAPE[name];
  let product = 0n;
  for (let mask = 1n << (width - 1n), right = b; mask > 0n; mask >>= 1n) {
    if (a & mask) product ^= right;
    right = right & 1n ? (right >> 1n) ^ polynomial : right >> 1n;
  }
  return product;
}
