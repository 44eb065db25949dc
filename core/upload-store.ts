/** The seam through which clients bring large objects into the bucket themselves: URLs that allow exactly one write. */

export interface UploadedPart {
  number: number;
  /** As the store answered the part's PUT. */
  etag: string;
}

/** Throws `storage_unavailable` like the object store, whose bucket this is. */
export interface UploadStore {
  /** A URL to which `size` bytes can be PUT as the key's object. */
  presignPut(key: string, size: number, expiresSeconds: number): Promise<string>;
  /** Begins an object of parts; answers the name that the other steps need. */
  startParts(key: string): Promise<string>;
  presignPart(
    key: string,
    upload: string,
    part: { number: number; size: number },
    expiresSeconds: number,
  ): Promise<string>;
  /** The object is there afterwards, also when this is repeated. Throws `upload_incomplete` when the store lacks a part. */
  finishParts(key: string, upload: string, parts: UploadedPart[]): Promise<void>;
  /** Ends uploads of parts below a prefix that began before a moment and were never finished; answers how many. */
  dropParts(prefix: string, beforeMs: number): Promise<number>;
  close(): void;
}
