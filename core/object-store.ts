/** The object-store seam: what fabric asks of the bucket that outlives Redis, and what it may rely on. */
import type { Readable } from "node:stream";

/**
 * `created: false` means that `ifNoneMatch` found an object there already, or `ifMatch` another one or none: nothing changed.
 * It is an outcome and not an error, because losing such a race is ordinary (version numbers, manifests, results).
 */
export type PutOutcome = { created: true; etag: string } | { created: false };

export interface PutOptions {
  /** Store only where the key holds nothing yet. Exactly one of any number of concurrent writers is told `created: true`. */
  ifNoneMatch?: boolean;
  /** Store only where the key holds the object of this etag: one of any number of concurrent writers wins. */
  ifMatch?: string;
  contentType?: string;
  /** Bytes in a stream body, where known: small ones then go in one request. A body of another length fails. */
  size?: number;
  signal?: AbortSignal;
}

export interface ObjectFacts {
  /** Bytes in the whole object, also when only a range of it was asked for. */
  size: number;
  etag: string;
  contentType: string;
  modifiedMs: number;
}

export interface StoredObject extends ObjectFacts {
  /** Must be read to its end or destroyed: it holds a connection. Fails when the store ends it early or damages it. */
  body: Readable;
  /** Bytes in `body`. */
  length: number;
}

export interface GetOptions {
  /** Byte positions as in HTTP: both inclusive; without `end`, to the last byte. */
  range?: { start: number; end?: number };
  signal?: AbortSignal;
}

export type ListEntry =
  | { kind: "object"; key: string; size: number; etag: string; modifiedMs: number }
  | { kind: "prefix"; prefix: string };

export interface ListOptions {
  /** Keys that share the text up to the next delimiter after the prefix come as one entry of kind `prefix`. */
  delimiter?: string;
  /** Start behind this key. */
  after?: string;
  signal?: AbortSignal;
}

/**
 * Promises of every implementation:
 * - a write is whole or absent: a reader sees the old object or the new one, never a mixture, also across crashes;
 * - an acknowledged write is durable, and the next `get`, `head` and `list` anywhere see it;
 * - keys are names of up to 1,024 bytes of UTF-8, not paths: `a`, `a/b` and `a//b` are three objects;
 * - a store that does not answer, or refuses us, throws `storage_unavailable`: at once when nothing listens,
 *   within about half a minute when it hangs; after such an error a write may or may not have happened.
 */
export interface ObjectStore {
  put(key: string, body: Buffer | string | Readable, options?: PutOptions): Promise<PutOutcome>;
  /** A body of any and unknown length, in parts; memory stays bounded, a failed upload leaves no object behind. */
  putStream(key: string, body: Readable, options?: PutOptions): Promise<PutOutcome>;
  /** `undefined` where the key holds nothing; `bad_request` for a range that starts behind the end. */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;
  head(key: string): Promise<ObjectFacts | undefined>;
  /** Deleting what is not there succeeds. */
  delete(key: string): Promise<void>;
  /** Deletes every key that starts with a prefix that is not empty; says how many. */
  deletePrefix(prefix: string): Promise<number>;
  /** Entries in the byte order of their UTF-8, fetched page by page as the caller goes on. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ListEntry>;
  /**
   * Inside the store, without passing the bytes through here; `undefined` where `from` holds nothing. Over 5 GiB only where
   * `size` says so, the bytes in `from`.
   */
  copy(
    from: string,
    to: string,
    options?: Pick<PutOptions, "ifNoneMatch" | "contentType" | "size">,
  ): Promise<PutOutcome | undefined>;
  /** A URL with which anybody can read the object until it expires (604,800 s at most); does not check that it exists. */
  presignGet(key: string, expiresSeconds: number): Promise<string>;
  /** Makes the bucket unless it is there; any number of callers at once is fine. */
  ensureBucket(): Promise<void>;
  /** Returns when the store answers and the bucket exists. */
  ping(): Promise<void>;
}
