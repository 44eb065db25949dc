/** The embedded S3 endpoint over a temporary folder, and an object store on a bucket of it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ObjectStore } from "../../core/object-store.ts";
import { s3ObjectStore } from "../../core/object-store-s3.ts";
import type { UploadStore } from "../../core/upload-store.ts";
import { s3UploadStore } from "../../core/upload-store-s3.ts";
import { startS3 } from "../../local/s3/server.ts";

export const TEST_CREDENTIALS = { accessKeyId: "test-key", secretAccessKey: "test-secret" };

export interface TestS3 {
  url: string;
  port: number;
  /** Bucket made. */
  objects(bucket?: string): Promise<ObjectStore & { close(): void }>;
  /** Of the bucket `fabric`. */
  uploads(): UploadStore;
  close(): Promise<void>;
}

export async function startTestS3(options: { port?: number } = {}): Promise<TestS3> {
  const dir = await mkdtemp(join(tmpdir(), "fabric-s3-"));
  const server = await startS3({ dir, credentials: TEST_CREDENTIALS, ...options });
  const opened: { close(): void }[] = [];
  return {
    url: server.url,
    port: server.port,
    async objects(bucket = "fabric") {
      const objects = s3ObjectStore({ endpoint: server.url, region: "us-east-1", bucket, ...TEST_CREDENTIALS });
      opened.push(objects);
      await objects.ensureBucket();
      return objects;
    },
    uploads() {
      const uploads = s3UploadStore({
        endpoint: server.url,
        region: "us-east-1",
        bucket: "fabric",
        ...TEST_CREDENTIALS,
      });
      opened.push(uploads);
      return uploads;
    },
    async close() {
      for (const objects of opened) objects.close();
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
