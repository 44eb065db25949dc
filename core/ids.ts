/** Ids: a prefix that says what the thing is, then 26 characters that sort by time of making. */
import { hash, randomBytes } from "node:crypto";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's base 32, as in ULID

export type IdPrefix = "inv" | "con" | "gng" | "run" | "tok" | "gwy" | "nod" | "fab" | "seg" | "upl";

/** Asking the system for so few bytes at a time costs more than all the rest of an id. */
let pool = Buffer.alloc(0);

function nextRandom(): Uint8Array {
  if (pool.length === 0) pool = randomBytes(4096);
  const random = pool.subarray(0, 16);
  pool = pool.subarray(16);
  return random;
}

export function newId(prefix: IdPrefix, nowMs = Date.now(), random: Uint8Array = nextRandom()): string {
  let time = "";
  for (let rest = nowMs, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  let rest = "";
  for (const byte of random) rest += ALPHABET[byte & 31];
  return `${prefix}_${time}${rest}`;
}

/** When the id was made, in milliseconds since 1970. */
export const idTimeMs = (id: string): number =>
  [...id.slice(-26, -16)].reduce((time, letter) => time * 32 + ALPHABET.indexOf(letter), 0);

/** The same for the same seed and time. */
export const derivedId = (prefix: IdPrefix, seed: string, atMs: number): string =>
  newId(prefix, atMs, hash("sha256", seed, "buffer").subarray(0, 16));

export const isId = (prefix: IdPrefix, text: string): boolean => new RegExp(`^${prefix}_[0-9a-z]{26}$`).test(text);
