/** GetObject and HeadObject: whole, a range, one part, or not at all because nothing changed. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { ObjectMeta } from "./bucket.ts";
import { checksumHeader } from "./checksum.ts";
import { notModified } from "./conditions.ts";
import { refuse } from "./errors.ts";
import { type Exchange, partCount, quoted, sendEmpty } from "./exchange.ts";
import { userHeaders } from "./metadata.ts";
import { type ByteRange, parseRange } from "./range.ts";

const OVERRIDES = [
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
];

export async function readObject(exchange: Exchange): Promise<void> {
  const { request, target, store } = exchange;
  const found = await store.bucket(target.bucket).open(target.key);
  if (!found) return refuse("NoSuchKey", "The specified key does not exist.", { Key: target.key });
  try {
    const { meta } = found;
    if (notModified(request.headers, meta)) {
      sendEmpty(exchange, 304, { etag: quoted(meta.etag), "last-modified": new Date(meta.modifiedMs).toUTCString() });
      return;
    }
    const range = wantedPart(exchange, meta) ?? wantedRange(exchange, meta);
    await send(exchange, meta, range);
  } finally {
    await found.release();
  }
}

function wantedRange({ request: { headers } }: Exchange, meta: ObjectMeta): ByteRange | undefined {
  const ifRange = headers["if-range"];
  if (typeof ifRange === "string" && ifRange !== quoted(meta.etag) && !(Date.parse(ifRange) >= meta.modifiedMs - 999))
    return undefined;
  return parseRange(headers.range, meta.size);
}

function wantedPart({ target: { query } }: Exchange, meta: ObjectMeta): ByteRange | undefined {
  const text = query.get("partNumber");
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > meta.blobs.length)
    refuse("InvalidRange", "The requested partnumber is not satisfiable", { PartNumberRequested: text });
  const start = meta.blobs.slice(0, number - 1).reduce((sum, blob) => sum + blob.size, 0);
  return { start, end: start + meta.blobs[number - 1]!.size - 1 };
}

async function send(exchange: Exchange, meta: ObjectMeta, range: ByteRange | undefined): Promise<void> {
  const { request, response, store } = exchange;
  const { start, end } = range ?? { start: 0, end: meta.size - 1 };
  // Before the headers go: afterwards a missing blob could only be told by breaking the connection.
  await store.blobs.check(meta.blobs);
  response.writeHead(range ? 206 : 200, {
    ...headersOf(exchange, meta, range === undefined),
    "content-length": end - start + 1,
    ...(range ? { "content-range": `bytes ${start}-${end}/${meta.size}` } : {}),
  });
  if (request.method === "HEAD" || end < start) {
    response.end();
    return;
  }
  for await (const chunk of store.blobs.read(meta.blobs, { start, end })) {
    if (response.destroyed) return;
    if (!response.write(chunk)) await writable(response);
  }
  response.end();
}

/** Waits until there is room again, or until nobody reads any more. */
async function writable(response: ServerResponse): Promise<void> {
  const stop = new AbortController();
  try {
    await Promise.race([once(response, "drain", stop), once(response, "close", stop)]);
  } finally {
    stop.abort();
  }
}

function headersOf(
  { request, target: { query } }: Exchange,
  meta: ObjectMeta,
  whole: boolean,
): Record<string, string | number> {
  const headers: Record<string, string | number> = {
    ...meta.headers,
    ...userHeaders(meta.user),
    "accept-ranges": "bytes",
    etag: quoted(meta.etag),
    "last-modified": new Date(meta.modifiedMs).toUTCString(),
  };
  for (const name of OVERRIDES) {
    const value = query.get(`response-${name}`);
    if (value === undefined) continue;
    if (/[^\t\x20-\x7e]/.test(value))
      refuse("InvalidArgument", `response-${name} holds characters that no header may hold.`);
    headers[name] = value;
  }
  const parts = partCount(meta);
  if (parts !== undefined && query.has("partNumber")) headers["x-amz-mp-parts-count"] = parts;
  if (meta.checksum && whole && request.headers["x-amz-checksum-mode"] === "ENABLED") {
    headers[checksumHeader(meta.checksum.name)] = meta.checksum.value;
    headers["x-amz-checksum-type"] = meta.checksum.type;
  }
  return headers;
}
