/** A request's body as it was meant: decoded, and checked against everything the request says about it. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type Checksum, type ChecksumName, checkForm, checksumHeader, claimedChecksum, hasher } from "./checksum.ts";
import { decodeChunked } from "./chunked.ts";
import { refuse } from "./errors.ts";
import type { Signer } from "./signature.ts";

export interface Body {
  /** Bytes announced; the stream fails when there are more or fewer. */
  size: number;
  /** Fails at its end when anything does not match; what was read before must not count until then. */
  stream: AsyncIterable<Buffer>;
  /** Known once the stream has ended. */
  md5(): string;
  checksum(): Checksum | undefined;
}

const MAX_XML_BYTES = 16 * 1024 * 1024;
const CHUNKED = /^STREAMING-(UNSIGNED-PAYLOAD|AWS4-HMAC-SHA256-PAYLOAD)(-TRAILER)?$/;

/** `begin` runs before the first byte is read: a client that waits for 100 Continue is told to go on. */
export function openBody(request: IncomingMessage, signer: Signer, begin: () => void, also?: ChecksumName): Body {
  const { headers } = request;
  const mode = CHUNKED.exec(signer.payload);
  const size = announcedSize(headers, mode !== null);
  const claimed = claimedChecksum(headers);
  const name = claimed?.name ?? also;
  const trailers = new Map<string, string>();
  const md5 = createHash("md5");
  const sha256 = /^[0-9a-f]{64}$/.test(signer.payload) ? createHash("sha256") : undefined;
  if (!mode && !sha256 && signer.payload !== "UNSIGNED-PAYLOAD")
    refuse(
      "InvalidArgument",
      "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a streaming value or a valid sha256 value.",
    );
  const contentMd5 = wantedMd5(headers["content-md5"] as string | undefined);
  const sum = name && hasher(name);
  // An iterator that destroys the request when it stops early would take the error reply's connection with it.
  const raw = request.iterator({ destroyOnReturn: false }) as AsyncGenerator<Buffer>;
  const source = mode
    ? decodeChunked(raw, {
        signer,
        signed: mode[1] !== "UNSIGNED-PAYLOAD",
        trailer: mode[2] !== undefined,
        onTrailer: (trailer, value) => trailers.set(trailer, value),
      })
    : raw;
  let md5Hex = "";
  let checksum: Checksum | undefined;

  async function* read(): AsyncGenerator<Buffer> {
    begin();
    let seen = 0;
    for await (const chunk of source) {
      seen += chunk.length;
      if (seen > size) refuse("IncompleteBody", "The request body is longer than was announced.");
      md5.update(chunk);
      sha256?.update(chunk);
      sum?.update(chunk);
      yield chunk;
    }
    if (seen !== size)
      refuse("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.");
    finish();
  }

  function finish(): void {
    const digest = md5.digest();
    md5Hex = digest.toString("hex");
    if (contentMd5 && !contentMd5.equals(digest))
      refuse("BadDigest", "The Content-MD5 you specified did not match what we received.");
    const sha = sha256?.digest("hex");
    if (sha !== undefined && sha !== signer.payload)
      refuse(
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        {
          ClientComputedContentSHA256: signer.payload,
          S3ComputedContentSHA256: sha,
        },
      );
    if (!name || !sum) return;
    const value = sum.digest().toString("base64");
    if (claimed && value !== claimedValue(claimed.name, claimed.value, trailers))
      refuse("BadDigest", `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
    checksum = { name, value, type: "FULL_OBJECT" };
  }

  return { size, stream: read(), md5: () => md5Hex, checksum: () => checksum };
}

function claimedValue(name: ChecksumName, value: string | undefined, trailers: Map<string, string>): string {
  const given = value ?? trailers.get(checksumHeader(name));
  if (given === undefined)
    return refuse("InvalidRequest", `The trailer ${checksumHeader(name)} was announced but did not come.`);
  return checkForm(name, given);
}

function announcedSize(headers: IncomingMessage["headers"], chunked: boolean): number {
  const text = chunked
    ? headers["x-amz-decoded-content-length"]
    : (headers["content-length"] ?? (headers["transfer-encoding"] ? undefined : "0"));
  const size = Number(text);
  if (typeof text !== "string" || !/^\d+$/.test(text) || !Number.isSafeInteger(size))
    return refuse("MissingContentLength", "You must provide the Content-Length HTTP header.");
  return size;
}

function wantedMd5(header: string | undefined): Buffer | undefined {
  if (header === undefined) return undefined;
  const wanted = Buffer.from(header, "base64");
  if (wanted.length !== 16) refuse("InvalidDigest", "The Content-MD5 you specified was invalid.");
  return wanted;
}

/** A small XML document, held whole. */
export async function readText(body: Body): Promise<string> {
  if (body.size > MAX_XML_BYTES) refuse("MalformedXML", "The XML document is too long.");
  const chunks: Buffer[] = [];
  for await (const chunk of body.stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
