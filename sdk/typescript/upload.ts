/** Inputs too large for a request, which go past the gateway: into the bucket by URLs that need no token. */
import { open } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { FabricError, fail } from "../../core/errors.ts";
import type { Http } from "./http.ts";

/** Inputs larger than this are uploaded. */
export const UPLOAD_BYTES = 8 * 1024 * 1024;
/** What a gateway takes in a request of its own, unless it is set otherwise. */
const GATEWAY_BYTES = 64 * 1024 * 1024;
const TRIES = 4;
const FIRST_PAUSE_MS = 200;

/** Bytes of a known number, of which a part is in memory at a time. */
export interface Bytes {
  size: number;
  read(from: number, to: number): Promise<Buffer>;
}

/** The input of one call. */
export interface Upload {
  upload: string;
}

interface Begun {
  id: string;
  parts: { number: number; size: number; url: string }[];
  upload?: string;
}

export const bytesOf = (text: string | Buffer): Bytes => {
  const all = Buffer.from(text);
  return { size: all.length, read: async (from, to) => all.subarray(from, to) };
};

/** `use` gets the file's bytes, as they are while it runs. */
export async function withFile<T>(path: string, use: (bytes: Bytes) => Promise<T>): Promise<T> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    return await use({
      size,
      async read(from, to) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(to - from), 0, to - from, from);
        return buffer.subarray(0, bytesRead);
      },
    });
  } finally {
    await file.close();
  }
}

/** A call's body, an object of named arguments or an array of positional ones, as an upload holds it. */
async function asCall(body: Bytes): Promise<Bytes> {
  const first = (await body.read(0, Math.min(body.size, 1024))).toString().trimStart()[0];
  if (first === "{") return joined('{"args":[],"kwargs":', body, "}");
  if (first === "[") return joined('{"args":', body, ',"kwargs":{}}');
  return fail("invalid_json", "the input begins neither like an object nor like an array");
}

function joined(head: string, body: Bytes, tail: string): Bytes {
  const pieces = [bytesOf(head), body, bytesOf(tail)];
  return {
    size: pieces.reduce((sum, { size }) => sum + size, 0),
    async read(from, to) {
      const found: Buffer[] = [];
      let at = 0;
      for (const piece of pieces) {
        const [first, last] = [Math.max(from - at, 0), Math.min(to - at, piece.size)];
        if (first < last) found.push(await piece.read(first, last));
        at += piece.size;
      }
      return Buffer.concat(found);
    },
  };
}

/** Puts a call's input into the bucket: an object of named arguments or an array of positional ones. */
export const uploadCall = async (api: Http, body: Bytes, signal?: AbortSignal): Promise<Upload> =>
  upload(api, await asCall(body), signal);

/** Large input is uploaded; through the gateway where the bucket cannot be reached from here. */
export async function pastGateway(api: Http, input: string, signal?: AbortSignal): Promise<string | Upload> {
  if (input.length <= UPLOAD_BYTES / 3) return input;
  const bytes = bytesOf(input);
  if (bytes.size <= UPLOAD_BYTES) return input;
  try {
    return await uploadCall(api, bytes, signal);
  } catch (error) {
    const goesBy = error instanceof FabricError && error.code === "storage_unavailable" && bytes.size <= GATEWAY_BYTES;
    if (!goesBy) throw error;
    return input;
  }
}

/** Throws `storage_unavailable` where the bucket cannot be reached from here. */
async function upload(api: Http, bytes: Bytes, signal?: AbortSignal): Promise<Upload> {
  const begun = await api.json<Begun>("POST", "/v1/uploads", { json: { size: bytes.size }, signal });
  const parts: { number: number; etag: string }[] = [];
  let at = 0;
  for (const { number, size, url } of begun.parts) {
    const piece = await bytes.read(at, at + size);
    if (piece.length !== size) fail("upload_incomplete", `the input ended ${size - piece.length} bytes early`);
    parts.push({ number, etag: await put(url, piece, signal) });
    at += size;
  }
  if (begun.upload !== undefined) {
    const json = { upload: begun.upload, parts };
    await api.json("POST", `/v1/uploads/${encodeURIComponent(begun.id)}/complete`, { json, signal });
  }
  return { upload: begun.id };
}

/** Again after a connection that failed or broke, a few times. */
async function put(url: string, piece: Buffer, signal?: AbortSignal): Promise<string> {
  for (let left = TRIES - 1, pauseMs = FIRST_PAUSE_MS; ; left--, pauseMs *= 2) {
    try {
      const reply = await fetch(url, { method: "PUT", body: piece as Uint8Array<ArrayBuffer>, signal: signal ?? null });
      const said = await reply.text();
      if (reply.ok) return reply.headers.get("etag") ?? "";
      throw new Error(`it answered ${reply.status}: ${said.slice(0, 300)}`);
    } catch (error) {
      signal?.throwIfAborted();
      if (left === 0 || isRefused(error)) throw unreachable(error);
    }
    await pause(pauseMs, undefined, { signal });
  }
}

const causeOf = (error: unknown): unknown => (error instanceof Error && error.cause ? error.cause : error);
const isRefused = (error: unknown): boolean => (causeOf(error) as { code?: unknown }).code === "ECONNREFUSED";

function unreachable(error: unknown): FabricError {
  const cause = causeOf(error);
  const why = cause instanceof Error ? cause.message || String((cause as { code?: unknown }).code) : String(cause);
  const where = "it is where FABRIC_S3_PUBLIC_ENDPOINT of the gateway says";
  const message = `the bucket cannot be reached from here (${why}); ${where}`;
  return new FabricError("storage_unavailable", message, undefined, { cause: error });
}
