/** Reads a request's body into memory, refusing one that is announced or turns out larger than the limit. */
import { type ErrorCode, fail } from "../core/errors.ts";

export async function readBody(
  request: Request,
  limitBytes: number,
  tooLarge: ErrorCode = "body_too_large",
): Promise<Buffer> {
  const announced = announcedBytes(request);
  if (announced !== undefined && announced > limitBytes) refuse(limitBytes, tooLarge);
  try {
    // The server has checked that no more comes than was announced.
    if (announced !== undefined) return Buffer.from(await request.arrayBuffer());
    return request.body ? await gather(request.body, limitBytes, tooLarge) : Buffer.alloc(0);
  } catch (cause) {
    return interrupted(cause);
  }
}

export function announcedBytes(request: Request): number | undefined {
  const header = request.headers.get("content-length");
  return header !== null && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

const refuse = (limitBytes: number, code: ErrorCode): never =>
  fail(code, `the body is larger than ${limitBytes} bytes`, { limitBytes });

async function gather(body: ReadableStream<Uint8Array>, limitBytes: number, tooLarge: ErrorCode): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of body) {
    held += chunk.length;
    if (held > limitBytes) refuse(limitBytes, tooLarge);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, held);
}

/** A body that breaks off is the client's connection, not a defect of ours. */
export function interrupted(cause: unknown): never {
  if (cause instanceof Error && cause.name === "FabricError") throw cause;
  return fail("upload_incomplete", "the connection ended before the whole body arrived", undefined, { cause });
}
