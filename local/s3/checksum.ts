/** S3's additional checksums: which one a request names, computing it, and what several parts' ones make together. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { type Crc, type CrcName, combineCrc, crc32c, crc64nvme } from "./crc.ts";
import { refuse } from "./errors.ts";

export const CHECKSUMS = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const;
export type ChecksumName = (typeof CHECKSUMS)[number];

export interface Checksum {
  name: ChecksumName;
  /** Base64; of several parts and composite, with the number of parts behind a dash. */
  value: string;
  type: "FULL_OBJECT" | "COMPOSITE";
}

const BYTES: Record<ChecksumName, number> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 };
const PREFIX = "x-amz-checksum-";

export const checksumHeader = (name: ChecksumName): string => `${PREFIX}${name}`;
/** As elements of XML spell it: ChecksumCRC32, ChecksumSHA1. */
export const checksumElement = (name: ChecksumName): string => `Checksum${name.toUpperCase()}`;

export function parseChecksumName(text: string): ChecksumName {
  const name = text.toLowerCase();
  return (
    CHECKSUMS.find((known) => known === name) ?? refuse("InvalidRequest", "Checksum algorithm provided is unsupported.")
  );
}

/** The name in a header or trailer, compared whole: crc32 is not crc32c. */
function nameOfHeader(header: string): ChecksumName | undefined {
  if (!header.startsWith(PREFIX) || ["algorithm", "mode", "type"].includes(header.slice(PREFIX.length)))
    return undefined;
  return parseChecksumName(header.slice(PREFIX.length));
}

export interface ClaimedChecksum {
  name: ChecksumName;
  /** Absent while it is still to come in a trailer. */
  value?: string;
}

/** What a request says about its body's checksum; more than one is refused. */
export function claimedChecksum(headers: Record<string, string | string[] | undefined>): ClaimedChecksum | undefined {
  const claims: ClaimedChecksum[] = [];
  for (const [header, value] of Object.entries(headers)) {
    const name = nameOfHeader(header);
    if (name) claims.push({ name, value: checkForm(name, String(value)) });
  }
  for (const trailer of String(headers["x-amz-trailer"] ?? "").split(",")) {
    const name = nameOfHeader(trailer.trim().toLowerCase());
    if (name) claims.push({ name });
  }
  if (claims.length > 1)
    refuse("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
  return claims[0];
}

export function checkForm(name: ChecksumName, value: string): string {
  const bytes = Buffer.from(value, "base64");
  if (bytes.length !== BYTES[name] || bytes.toString("base64") !== value)
    refuse("InvalidRequest", `Value for ${checksumHeader(name)} header is invalid.`);
  return value;
}

export function hasher(name: ChecksumName): Crc {
  if (name === "crc32c") return crc32c();
  if (name === "crc64nvme") return crc64nvme();
  if (name === "crc32") return nodeCrc32();
  const hash = createHash(name);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
}

function nodeCrc32(): Crc {
  let crc = 0;
  return {
    update(bytes) {
      crc = crc32(bytes, crc);
    },
    digest() {
      const out = Buffer.alloc(4);
      out.writeUInt32BE(crc);
      return out;
    },
  };
}

const isCrc = (name: ChecksumName): name is CrcName => name.startsWith("crc");

/** S3's defaults: crc64nvme only exists over the whole object, the others over the parts' checksums unless asked. */
export function checksumType(name: ChecksumName, asked: string | undefined): Checksum["type"] {
  const type = asked ?? (name === "crc64nvme" ? "FULL_OBJECT" : "COMPOSITE");
  const possible = type === "FULL_OBJECT" ? isCrc(name) : type === "COMPOSITE" && name !== "crc64nvme";
  if (!possible)
    refuse("InvalidRequest", `The ${type} checksum type cannot be used with the ${name} checksum algorithm.`);
  return type as Checksum["type"];
}

export function joinChecksums(
  name: ChecksumName,
  type: Checksum["type"],
  parts: { value: string; size: number }[],
): Checksum {
  const values: Buffer[] = parts.map((part) => Buffer.from(part.value, "base64"));
  if (type === "COMPOSITE") {
    const all = hasher(name);
    for (const value of values) all.update(value);
    return { name, type, value: `${all.digest().toString("base64")}-${parts.length}` };
  }
  const whole = values.reduce((first, next, i) => combineCrc(name as CrcName, first, next, parts[i]!.size));
  return { name, type, value: whole.toString("base64") };
}
