/** What a request names: bucket, key and query, decoded once and checked, and the encoding S3 signs. */
import { refuse } from "./errors.ts";

export interface Target {
  /** Empty for the service itself. */
  bucket: string;
  /** Empty for a bucket. */
  key: string;
  query: Map<string, string>;
  /** The path as the signature covers it: decoded once, encoded S3's way. */
  canonicalPath: string;
}

const MAX_KEY_BYTES = 1024;
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** `url` is the request line's target; a host below `.localhost` names its bucket in the first label. */
export function parseTarget(url: string, host: string): Target {
  const cut = url.indexOf("?");
  const path = decode(cut < 0 ? url : url.slice(0, cut));
  if (!path.startsWith("/")) refuse("InvalidURI", "Couldn't parse the specified URI.");
  const virtual = /^([a-z0-9.-]+)\.localhost(:\d+)?$/i.exec(host)?.[1];
  const rest = path.slice(1);
  const slash = rest.indexOf("/");
  const bucket = virtual ?? (slash < 0 ? rest : rest.slice(0, slash));
  const key = virtual === undefined ? (slash < 0 ? "" : rest.slice(slash + 1)) : rest;
  checkKey(key);
  return { bucket, key, query: parseQuery(cut < 0 ? "" : url.slice(cut + 1)), canonicalPath: encodePath(path) };
}

/** Keys are names, not paths; but one that climbs out of its bucket is refused, as S3 does. */
export function checkKey(key: string): void {
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    refuse("KeyTooLongError", "Your key is too long", { Size: String(Buffer.byteLength(key)), MaxSizeAllowed: "1024" });
  let depth = 0;
  for (const segment of key.split("/")) {
    depth += segment === ".." ? -1 : segment === "" || segment === "." ? 0 : 1;
    if (depth < 0) refuse("InvalidURI", "The key climbs out of its bucket.");
  }
  if (key.includes("\0")) refuse("InvalidURI", "The key holds a NUL character.");
}

export function checkBucketName(name: string): void {
  if (!BUCKET.test(name) || name.includes(".."))
    refuse("InvalidBucketName", "The specified bucket is not valid.", { BucketName: name });
}

function parseQuery(text: string): Map<string, string> {
  const query = new Map<string, string>();
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const eq = pair.indexOf("=");
    const name = decode((eq < 0 ? pair : pair.slice(0, eq)).replaceAll("+", "%20"));
    if (query.has(name)) refuse("InvalidArgument", `The parameter ${name} is given twice.`);
    query.set(name, eq < 0 ? "" : decode(pair.slice(eq + 1).replaceAll("+", "%20")));
  }
  return query;
}

/** Percent-decoding that refuses what is not UTF-8: two spellings of one broken name would be two keys. */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse("InvalidURI", "Couldn't parse the specified URI.");
  }
}

export const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

export const encodePath = (path: string): string => path.split("/").map(encode).join("/");
