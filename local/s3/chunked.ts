/** The `aws-chunked` body: chunks with or without signatures, then trailers, read as a stream in bounded memory. */
import { createHash } from "node:crypto";
import { refuse } from "./errors.ts";
import { type Signer, sameText } from "./signature.ts";

export interface ChunkedOptions {
  signer: Signer;
  /** Are chunks signed? */
  signed: boolean;
  /** Do trailers follow? */
  trailer: boolean;
  /** Given each trailer once the body has ended. */
  onTrailer(name: string, value: string): void;
}

const EMPTY_SHA256 = createHash("sha256").digest("hex");
const MAX_LINE_BYTES = 4096;
const MAX_TRAILERS = 16;
const broken = (message: string): never => refuse("IncompleteBody", message);

/** Yields the decoded bytes; ends only when the last chunk and all trailers were there and true. */
export async function* decodeChunked(source: AsyncGenerator<Buffer>, options: ChunkedOptions): AsyncGenerator<Buffer> {
  try {
    yield* decode(lineReader(source), options);
  } finally {
    await source.return(undefined);
  }
}

async function* decode(input: LineReader, options: ChunkedOptions): AsyncGenerator<Buffer> {
  const { signer, signed } = options;
  let previous = signer.seed;
  for (;;) {
    const { size, signature } = parseChunkHead(await input.line());
    const hash = signed ? createHash("sha256") : undefined;
    for (let left = size; left > 0; ) {
      const piece = await input.upTo(left);
      hash?.update(piece);
      left -= piece.length;
      yield piece;
    }
    if (hash) {
      const expected = signer.sign("PAYLOAD", previous, EMPTY_SHA256, hash.digest("hex"));
      if (signature === undefined || !sameText(signature, expected))
        refuse("SignatureDoesNotMatch", "The signature of a chunk does not match.");
      previous = expected;
    }
    if (size === 0) break;
    if ((await input.line()) !== "") broken("A chunk is longer than it says.");
  }
  await readTrailers(input, previous, options);
  await input.end();
}

function parseChunkHead(line: string): { size: number; signature: string | undefined } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
  if (!match) return broken("The head of a chunk is malformed.");
  return { size: Number.parseInt(match[1]!, 16), signature: match[2] };
}

async function readTrailers(input: LineReader, previous: string, options: ChunkedOptions): Promise<void> {
  let canonical = "";
  let signature: string | undefined;
  for (let count = 0; ; count++) {
    const line = await input.line({ mayEnd: true });
    if (line === "" || line === undefined) break;
    if (count >= MAX_TRAILERS) broken("There are too many trailers.");
    const colon = line.indexOf(":");
    if (colon < 1) broken("A trailer is malformed.");
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === "x-amz-trailer-signature") {
      signature = value;
      continue;
    }
    if (!options.trailer) broken("There are trailers that were not announced.");
    canonical += `${name}:${value}\n`;
    options.onTrailer(name, value);
  }
  if (!options.signed || !options.trailer) return;
  const expected = options.signer.sign("TRAILER", previous, createHash("sha256").update(canonical).digest("hex"));
  if (signature === undefined || !sameText(signature, expected))
    refuse("SignatureDoesNotMatch", "The signature of the trailers does not match.");
}

interface LineReader {
  line(): Promise<string>;
  line(options: { mayEnd: true }): Promise<string | undefined>;
  upTo(bytes: number): Promise<Buffer>;
  end(): Promise<void>;
}

function lineReader(chunks: AsyncGenerator<Buffer>): LineReader {
  let held: Buffer = Buffer.alloc(0);
  const more = async (): Promise<boolean> => {
    const next = await chunks.next();
    if (next.done) return false;
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value]);
    return true;
  };
  async function line(options?: { mayEnd: true }): Promise<string> {
    for (;;) {
      const end = held.indexOf("\r\n");
      if (end >= 0) {
        const text = held.toString("latin1", 0, end);
        held = held.subarray(end + 2);
        return text;
      }
      if (held.length > MAX_LINE_BYTES) broken("A line between chunks is too long.");
      if (await more()) continue;
      if (options?.mayEnd && held.length === 0) return "";
      broken("The body ended before its last chunk.");
    }
  }
  return {
    line: line as LineReader["line"],
    async upTo(bytes) {
      while (held.length === 0) if (!(await more())) broken("The body ended within a chunk.");
      const piece = held.subarray(0, bytes);
      held = held.subarray(piece.length);
      return piece;
    },
    async end() {
      if (held.length > 0 || (await more())) broken("Bytes follow the last chunk.");
    },
  };
}
