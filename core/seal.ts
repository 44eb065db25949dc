/** Seals small secrets for the bucket: who reads the bucket, but does not hold fabric's key, learns nothing. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { fail } from "./errors.ts";

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Keys of different purposes cannot open each other's secrets. */
const keyFor = (key: string, purpose: string): Buffer =>
  Buffer.from(hkdfSync("sha256", key, "fabric", `seal ${purpose}`, 32));

/** AES-256-GCM: nonce, tag and text, as base64. */
export function seal(key: string, purpose: string, text: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", keyFor(key, purpose), iv);
  const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), body]).toString("base64");
}

/** Throws `secret_unreadable` for what was sealed under another key, for another purpose, or changed. */
export function unseal(key: string, purpose: string, sealed: string): string {
  const bytes = Buffer.from(sealed, "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", keyFor(key, purpose), bytes.subarray(0, IV_BYTES));
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString("utf8");
  } catch (cause) {
    return fail("secret_unreadable", `the ${purpose} was sealed under another key`, undefined, { cause });
  }
}
