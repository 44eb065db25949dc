/** The object store on any S3 endpoint, through the AWS SDK. */
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { copyInParts, MOST_COPIED } from "./copy-parts.ts";
import { FabricError, fail } from "./errors.ts";
import type { ListEntry, ObjectFacts, ObjectStore, PutOptions, PutOutcome } from "./object-store.ts";
import { connectS3, type S3Options } from "./s3-client.ts";
import { exactly, gather } from "./sized-body.ts";

const PART_BYTES = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 3;
/** Marks a conditional write as ours, so that a repeat after a lost reply can tell its own object from another's. */
const WRITER = "fabric-writer";

export function s3ObjectStore(options: S3Options): ObjectStore & { close(): void } {
  const Bucket = options.bucket;
  const client = connectS3(options, options.endpoint);
  const outside = options.publicEndpoint ? connectS3(options, options.publicEndpoint) : client;

  /** Runs one request; what the store could not or would not do becomes `storage_unavailable`. */
  async function attempt<T>(what: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof FabricError || isAbort(error)) throw error;
      const { name, message } = describe(error);
      return fail(
        "storage_unavailable",
        `S3 at ${options.endpoint}: ${what}: ${name}: ${message}`,
        { s3: name },
        { cause: error },
      );
    }
  }

  /** What the key holds, or undefined; any other failure is thrown as it came. */
  async function look(key: string) {
    try {
      return await client.send(new HeadObjectCommand({ Bucket, Key: key }));
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /**
   * Settles a conditional write that failed. The SDK repeats requests whose reply was lost, and the repeat finds the
   * object of the first: only the writer mark tells that apart from somebody else's object.
   */
  async function settle(key: string, writer: string, error: unknown): Promise<PutOutcome> {
    const status = statusOf(error);
    if (status !== 412 && status !== 409 && status !== 404) throw error;
    const there = await look(key);
    if (there?.Metadata?.[WRITER] === writer) return { created: true, etag: there.ETag ?? "" };
    if (there || status === 412 || nameOf(error) === "NoSuchKey") return { created: false };
    throw error;
  }

  async function write(
    key: string,
    { ifNoneMatch, ifMatch, contentType }: PutOptions,
    send: (input: { Bucket: string; Key: string; ContentType: string }) => Promise<{ ETag?: string }>,
  ): Promise<PutOutcome> {
    const writer = randomUUID();
    const isConditional = ifNoneMatch || ifMatch !== undefined;
    const input = {
      Bucket,
      Key: key,
      ContentType: contentType ?? "application/octet-stream",
      ...(ifNoneMatch ? { IfNoneMatch: "*" } : {}),
      ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
      ...(isConditional ? { Metadata: { [WRITER]: writer } } : {}),
    };
    try {
      return { created: true, etag: (await send(input)).ETag ?? "" };
    } catch (error) {
      const hasNoSource = ifMatch === undefined && nameOf(error) === "NoSuchKey";
      if (!isConditional || hasNoSource) throw error;
      return settle(key, writer, error);
    }
  }

  function put(key: string, body: Buffer | string | Readable, given: PutOptions = {}): Promise<PutOutcome> {
    if (body instanceof Readable && (given.size === undefined || given.size > PART_BYTES))
      return putStream(key, body, given);
    return attempt(`put ${key}`, async () => {
      // A stream cannot be sent twice; a small one held in memory can, so a lost connection does not lose the write.
      const bytes = body instanceof Readable ? await gather(body, given.size ?? 0) : Buffer.from(body);
      return write(key, given, (input) =>
        client.send(new PutObjectCommand({ ...input, Body: bytes }), { abortSignal: given.signal }),
      );
    });
  }

  function putStream(key: string, body: Readable, given: PutOptions = {}): Promise<PutOutcome> {
    return attempt(`put ${key}`, async () => {
      given.signal?.throwIfAborted();
      const counted = exactly(body, given.size);
      const partSize = Math.max(PART_BYTES, Math.ceil((given.size ?? 0) / 10_000));
      try {
        return await write(key, given, async (params) => {
          const upload = new Upload({
            client,
            params: { ...params, Body: counted },
            partSize,
            queueSize: PARTS_AT_ONCE,
          });
          const stop = () => void upload.abort();
          given.signal?.addEventListener("abort", stop, { once: true });
          try {
            return await upload.done();
          } finally {
            given.signal?.removeEventListener("abort", stop);
          }
        });
      } finally {
        body.destroy();
      }
    });
  }

  async function* list(prefix: string, given: { delimiter?: string; after?: string; signal?: AbortSignal } = {}) {
    let token: string | undefined;
    do {
      const page = await attempt(`list ${prefix}`, () =>
        client.send(
          new ListObjectsV2Command({
            Bucket,
            Prefix: prefix,
            Delimiter: given.delimiter,
            StartAfter: given.after,
            ContinuationToken: token,
            EncodingType: "url",
          }),
          { abortSignal: given.signal },
        ),
      );
      const entries: ListEntry[] = [
        ...(page.Contents ?? []).map((found) => ({
          kind: "object" as const,
          key: plain(found.Key),
          size: found.Size ?? 0,
          etag: found.ETag ?? "",
          modifiedMs: found.LastModified?.getTime() ?? 0,
        })),
        ...(page.CommonPrefixes ?? []).map((found) => ({ kind: "prefix" as const, prefix: plain(found.Prefix) })),
      ];
      yield* entries.sort((a, b) => Buffer.compare(Buffer.from(nameIn(a)), Buffer.from(nameIn(b))));
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token);
  }

  async function deleteMany(keys: string[]): Promise<number> {
    if (keys.length === 0) return 0;
    const { Errors } = await attempt("delete", () =>
      client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true } })),
    );
    const [first] = Errors ?? [];
    if (first) fail("storage_unavailable", `S3 did not delete ${first.Key}: ${first.Code}: ${first.Message}`);
    return keys.length;
  }

  return {
    put,
    putStream,
    list,
    get: (key, { range, signal } = {}) =>
      attempt(`get ${key}`, async () => {
        const Range = range && `bytes=${range.start}-${range.end ?? ""}`;
        try {
          const found = await client.send(new GetObjectCommand({ Bucket, Key: key, Range }), { abortSignal: signal });
          const length = found.ContentLength ?? 0;
          const size = Number(found.ContentRange?.split("/")[1] ?? length);
          return { ...factsOf(found), size, length, body: found.Body as Readable };
        } catch (error) {
          if (nameOf(error) === "NoSuchKey") return undefined;
          if (statusOf(error) === 416) fail("bad_request", `${Range} starts behind the end of ${key}`);
          throw error;
        }
      }),
    head: (key) =>
      attempt(`head ${key}`, async () => {
        const found = await look(key);
        return found && factsOf(found);
      }),
    delete: (key) =>
      attempt(`delete ${key}`, async () => void (await client.send(new DeleteObjectCommand({ Bucket, Key: key })))),
    async deletePrefix(prefix) {
      if (prefix === "") fail("bad_request", "deletePrefix needs a prefix; an empty one would empty the bucket");
      let deleted = 0;
      const batch: string[] = [];
      for await (const entry of list(prefix)) {
        if (entry.kind === "object") batch.push(entry.key);
        if (batch.length === 1000) deleted += await deleteMany(batch.splice(0));
      }
      deleted += await deleteMany(batch);
      return deleted;
    },
    copy: (from, to, given = {}) =>
      attempt(`copy ${from} to ${to}`, async () => {
        const CopySource = `${Bucket}/${from.split("/").map(encodeURIComponent).join("/")}`;
        // The writer mark of a conditional copy takes the place of what the source is described by.
        const MetadataDirective = given.ifNoneMatch ? "REPLACE" : "COPY";
        try {
          // A store that overlooks the condition of a copy, as some do, is asked before.
          if (given.ifNoneMatch && (await look(to))) return { created: false };
          const isLarge = (given.size ?? 0) > (options.mostCopiedBytes ?? MOST_COPIED);
          const facts = isLarge ? await look(from) : undefined;
          if (isLarge && !facts) return undefined;
          return await write(to, given, async ({ ContentType, ...input }) => {
            if (facts) {
              const described = given.ifNoneMatch || given.contentType ? { ...input, ContentType } : input;
              const { copyPartBytes: partBytes } = options;
              return copyInParts({ client, from: { CopySource, facts }, to: described, partBytes });
            }
            const made = await client.send(
              new CopyObjectCommand({ ...input, ContentType, CopySource, MetadataDirective }),
            );
            return { ETag: made.CopyObjectResult?.ETag };
          });
        } catch (error) {
          if (nameOf(error) === "NoSuchKey") return undefined;
          throw error;
        }
      }),
    presignGet: (key, expiresSeconds) =>
      attempt(`presign ${key}`, () =>
        getSignedUrl(outside, new GetObjectCommand({ Bucket, Key: key }), { expiresIn: expiresSeconds }),
      ),
    ensureBucket: () =>
      attempt(`make bucket ${Bucket}`, async () => {
        try {
          await client.send(new HeadBucketCommand({ Bucket }));
        } catch (error) {
          if (statusOf(error) !== 404) throw error;
          await client.send(new CreateBucketCommand({ Bucket })).catch((refused: unknown) => {
            if (nameOf(refused) !== "BucketAlreadyOwnedByYou") throw refused;
          });
        }
      }),
    ping: () => attempt("ping", async () => void (await client.send(new HeadBucketCommand({ Bucket })))),
    close() {
      client.destroy();
      outside.destroy();
    },
  };
}

function factsOf(found: {
  ContentLength?: number;
  ETag?: string;
  ContentType?: string;
  LastModified?: Date;
}): ObjectFacts {
  return {
    size: found.ContentLength ?? 0,
    etag: found.ETag ?? "",
    contentType: found.ContentType ?? "application/octet-stream",
    modifiedMs: found.LastModified?.getTime() ?? 0,
  };
}

const nameIn = (entry: ListEntry): string => (entry.kind === "object" ? entry.key : entry.prefix);
const plain = (encoded = ""): string => decodeURIComponent(encoded.replaceAll("+", "%20"));
const nameOf = (error: unknown): string => (error instanceof Error ? error.name : "");
const isAbort = (error: unknown): boolean => nameOf(error) === "AbortError";
const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;

function describe(error: unknown): { name: string; message: string } {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const code = (error as { code?: string }).code;
  return { name: code ?? error.name, message: error.message || (code ?? "no answer") };
}
