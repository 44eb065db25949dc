/** Copies an object inside S3 that is larger than one copy takes: as parts, which the store puts together. */
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  type HeadObjectCommandOutput,
  type S3Client,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";

/** What one CopyObject takes. */
export const MOST_COPIED = 5 * 1024 ** 3;
/** Small enough to be done before a request's time is over. */
const PART_BYTES = 128 * 1024 ** 2;
const MOST_PARTS = 10_000;
const AT_ONCE = 4;

export interface CopyInParts {
  client: S3Client;
  from: {
    CopySource: string;
    facts: Pick<HeadObjectCommandOutput, "ContentLength" | "ContentType" | "ETag" | "Metadata">;
  };
  /** Where to, under which conditions, and what it is described by; without that as its source. */
  to: CreateMultipartUploadCommandInput & { IfNoneMatch?: string; IfMatch?: string };
  partBytes?: number;
}

export async function copyInParts({
  client,
  from: { CopySource, facts },
  to,
  partBytes = PART_BYTES,
}: CopyInParts): Promise<{ ETag?: string }> {
  const { Bucket, Key } = to;
  const { IfNoneMatch, IfMatch, ...described } = to;
  const { ContentLength: size = 0, ContentType, Metadata, ETag: CopySourceIfMatch } = facts;
  const bytes = Math.max(partBytes, Math.ceil(size / MOST_PARTS));
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ContentType, Metadata, ...described }));
  const parts: CompletedPart[] = [];
  let next = 0;

  async function copySome(): Promise<void> {
    while (next * bytes < size) {
      const at = next++;
      const CopySourceRange = `bytes=${at * bytes}-${Math.min(size, (at + 1) * bytes) - 1}`;
      const part = { Bucket, Key, UploadId, PartNumber: at + 1, CopySource, CopySourceRange, CopySourceIfMatch };
      const copied = await client.send(new UploadPartCopyCommand(part));
      parts[at] = { PartNumber: at + 1, ETag: copied.CopyPartResult?.ETag };
    }
  }

  try {
    await Promise.all(Array.from({ length: AT_ONCE }, copySome));
    const MultipartUpload = { Parts: parts };
    return await client.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload, IfNoneMatch, IfMatch }),
    );
  } catch (thrown) {
    // What is left of it, a store removes in time; the failure that ended it is the one to tell.
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => undefined);
    throw thrown;
  }
}
