/** ListObjects in both versions, over the index: pages, common prefixes, tokens. */
import type { Bucket, IndexEntry } from "./bucket.ts";
import { refuse } from "./errors.ts";
import { type Exchange, isoDate, quoted, sendXml } from "./exchange.ts";
import { compareKeys } from "./sorted-keys.ts";
import { encodePath } from "./target.ts";
import type { XmlFields } from "./xml.ts";

export interface Listing {
  prefix: string;
  delimiter: string;
  /** Begin behind this key, or behind everything below this common prefix. */
  after: string;
  maxKeys: number;
}

export interface Page {
  contents: IndexEntry[];
  prefixes: string[];
  /** The last name on the page, when more follow. */
  next: string | undefined;
}

const MAX_KEYS = 1000;

export function listPage(index: Bucket["index"], { prefix, delimiter, after, maxKeys }: Listing): Page {
  const page: Page = { contents: [], prefixes: [], next: undefined };
  let cursor = index.seek((key) => compareKeys(key, prefix) < 0 || (after !== "" && compareKeys(key, after) <= 0));
  // A page that ended with a common prefix goes on behind all of it.
  const cutInAfter = delimiter !== "" && after.startsWith(prefix) ? after.indexOf(delimiter, prefix.length) : -1;
  if (cutInAfter >= 0 && cutInAfter + delimiter.length === after.length) cursor = behind(index, after);
  let last = "";
  for (; cursor.entry?.key.startsWith(prefix); ) {
    const { entry } = cursor;
    const cut = delimiter === "" ? -1 : entry.key.indexOf(delimiter, prefix.length);
    if (page.contents.length + page.prefixes.length >= maxKeys) {
      page.next = maxKeys === 0 ? undefined : last;
      return page;
    }
    if (cut < 0) {
      page.contents.push(entry);
      last = entry.key;
      cursor.next();
    } else {
      last = entry.key.slice(0, cut + delimiter.length);
      page.prefixes.push(last);
      cursor = behind(index, last);
    }
  }
  return page;
}

const behind = (index: Bucket["index"], prefix: string) =>
  index.seek((key) => compareKeys(key, prefix) < 0 || key.startsWith(prefix));

export async function listObjects(exchange: Exchange): Promise<void> {
  const { target, store } = exchange;
  const { query } = target;
  const v2 = query.get("list-type") === "2";
  const token = v2 ? query.get("continuation-token") : undefined;
  const startAfter = query.get("start-after") ?? "";
  const after = v2 ? (token === undefined ? startAfter : readToken(token)) : (query.get("marker") ?? "");
  const listing = {
    prefix: query.get("prefix") ?? "",
    delimiter: query.get("delimiter") ?? "",
    after,
    maxKeys: maxKeysOf(query),
  };
  const page = listPage(store.bucket(target.bucket).index, listing);
  const name = nameCoder(query);
  const owner = { ID: "fabric", DisplayName: "fabric" };
  const withOwner = !v2 || query.get("fetch-owner") === "true";
  const { next } = page;
  const fields: XmlFields = {
    Name: target.bucket,
    Prefix: name(listing.prefix),
    Delimiter: listing.delimiter === "" ? undefined : name(listing.delimiter),
    EncodingType: query.get("encoding-type"),
    MaxKeys: listing.maxKeys,
    IsTruncated: next !== undefined,
    ...(v2
      ? {
          KeyCount: page.contents.length + page.prefixes.length,
          ContinuationToken: token,
          NextContinuationToken: next === undefined ? undefined : makeToken(next),
          StartAfter: startAfter === "" ? undefined : name(startAfter),
        }
      : { Marker: name(after), NextMarker: next !== undefined && listing.delimiter !== "" ? name(next) : undefined }),
    Contents: page.contents.map((entry) => ({
      Key: name(entry.key),
      LastModified: isoDate(entry.modifiedMs),
      ETag: quoted(entry.etag),
      Size: entry.size,
      ...(withOwner ? { Owner: owner } : {}),
      StorageClass: "STANDARD",
    })),
    CommonPrefixes: page.prefixes.map((prefix) => ({ Prefix: name(prefix) })),
  };
  sendXml(exchange, "ListBucketResult", fields);
}

/** `encoding-type=url` keeps names readable that XML could not carry. */
export function nameCoder(query: Map<string, string>): (text: string) => string {
  const encoding = query.get("encoding-type");
  if (encoding !== undefined && encoding !== "url")
    refuse("InvalidArgument", "Invalid Encoding Method specified in Request");
  return encoding === "url" ? encodePath : (text) => text;
}

export function maxKeysOf(query: Map<string, string>, parameter = "max-keys"): number {
  const text = query.get(parameter) ?? "";
  if (!/^\d{0,10}$/.test(text))
    refuse("InvalidArgument", `Argument ${parameter} must be an integer between 0 and 2147483647`);
  return text === "" ? MAX_KEYS : Math.min(Number(text), MAX_KEYS);
}

const makeToken = (last: string): string => Buffer.from(`1${last}`).toString("base64url");

function readToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (!text.startsWith("1")) refuse("InvalidArgument", "The continuation token provided is incorrect");
  return text.slice(1);
}
