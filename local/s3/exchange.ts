/** One request and its reply, as the handlers see them. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Body } from "./body.ts";
import type { ObjectMeta } from "./bucket.ts";
import type { ChecksumName } from "./checksum.ts";
import type { S3Error } from "./errors.ts";
import type { Store } from "./store.ts";
import type { Target } from "./target.ts";
import { toXml, type XmlFields } from "./xml.ts";

export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  target: Target;
  store: Store;
  region: string;
  now(): number;
  /** The body, to be read to its end; `also` names a checksum to compute even when the request claims none. */
  body(also?: ChecksumName): Body;
}

export type Handler = (exchange: Exchange) => Promise<void>;

export function sendXml(
  { response }: Pick<Exchange, "response">,
  root: string,
  fields: XmlFields,
  headers: Record<string, string> = {},
): void {
  const text = toXml(root, fields);
  response.writeHead(200, { "content-type": "application/xml", "content-length": Buffer.byteLength(text), ...headers });
  response.end(text);
}

export function sendEmpty(
  { response }: Pick<Exchange, "response">,
  status: number,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, status === 204 || status === 304 ? headers : { "content-length": 0, ...headers });
  response.end();
}

export function sendError(
  { response, request }: Pick<Exchange, "response" | "request">,
  error: S3Error,
  requestId: string,
): void {
  const resource = (request.url ?? "").split("?")[0]!;
  const text = toXml(
    "Error",
    { Code: error.code, Message: error.message, Resource: resource, RequestId: requestId, ...error.details },
    { namespace: false },
  );
  const length = Buffer.byteLength(text);
  response.writeHead(error.status, { "content-type": "application/xml", "content-length": length, ...error.headers });
  response.end(request.method === "HEAD" ? undefined : text);
}

export const quoted = (etag: string): string => `"${etag}"`;
export const isoDate = (ms: number): string => new Date(ms).toISOString();

/** Completed uploads carry the number of their parts in the ETag. */
export const partCount = (meta: Pick<ObjectMeta, "etag">): number | undefined => {
  const count = Number(meta.etag.split("-")[1]);
  return count > 0 ? count : undefined;
};
