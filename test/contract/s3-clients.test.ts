/** The embedded S3 endpoint as the clients see it that people have: the AWS SDK, aws-cli, boto3. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningS3, startS3 } from "../../local/s3/server.ts";
import { findAws, findPython } from "./tools.ts";

const run = promisify(execFile);
const KEYS = { accessKeyId: "clients", secretAccessKey: "clients-secret" };
const MIB = 1024 * 1024;
let dir: string;
let server: RunningS3;
const errors: unknown[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fabric-s3-clients-"));
  server = await startS3({ dir: join(dir, "data"), credentials: KEYS, onError: (error) => errors.push(error) });
});
afterAll(async () => {
  await server.close();
  await rm(dir, { recursive: true });
  expect(errors).toEqual([]);
});

describe("AWS SDK", () => {
  const Bucket = "sdk";
  let s3: S3Client;
  beforeAll(async () => {
    s3 = new S3Client({ endpoint: server.url, region: "us-east-1", forcePathStyle: true, credentials: KEYS });
    await s3.send(new CreateBucketCommand({ Bucket: "sdk" }));
  });
  afterAll(() => s3.destroy());

  it.each(["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const)(
    "streams with a %s trailer, and reads it back",
    async (algorithm) => {
      const bytes = randomBytes(3 * MIB + 5);
      const body = Readable.from([bytes.subarray(0, MIB), bytes.subarray(MIB)], { objectMode: false });
      const put = new PutObjectCommand({
        Bucket,
        Key: "trailer",
        Body: body,
        ContentLength: bytes.length,
        ChecksumAlgorithm: algorithm,
      });
      const stored = await s3.send(put);
      const found = await s3.send(new GetObjectCommand({ Bucket, Key: "trailer", ChecksumMode: "ENABLED" }));
      expect(found[`Checksum${algorithm}`]).toBe(stored[`Checksum${algorithm}`]);
      expect(found[`Checksum${algorithm}`]).toBeTruthy();
      expect(Buffer.from(await found.Body!.transformToByteArray()).equals(bytes)).toBe(true);
    },
  );

  it("uploads 200 MB in parts and reads ranges across them", async () => {
    const chunk = randomBytes(4 * MIB);
    const hash = createHash("sha256");
    async function* generate() {
      for (let i = 0; i < 50; i++) {
        hash.update(chunk);
        yield chunk;
      }
    }
    const Body = Readable.from(generate(), { objectMode: false });
    await new Upload({ client: s3, params: { Bucket, Key: "large", Body }, partSize: 8 * MIB }).done();
    expect(await s3.send(new HeadObjectCommand({ Bucket, Key: "large" }))).toMatchObject({ ContentLength: 200 * MIB });
    const back = createHash("sha256");
    const found = await s3.send(new GetObjectCommand({ Bucket, Key: "large" }));
    for await (const piece of found.Body as Readable) back.update(piece);
    expect(back.digest("hex")).toBe(hash.digest("hex"));
    const Range = `bytes=${16 * MIB - 2}-${24 * MIB + 1}`;
    const part = await s3.send(new GetObjectCommand({ Bucket, Key: "large", Range }));
    expect(part).toMatchObject({
      ContentLength: 8 * MIB + 4,
      ContentRange: `bytes ${16 * MIB - 2}-${24 * MIB + 1}/${200 * MIB}`,
    });
    const wanted = Buffer.concat([chunk.subarray(-2), chunk, chunk, chunk.subarray(0, 2)]);
    expect(Buffer.from(await part.Body!.transformToByteArray()).equals(wanted)).toBe(true);
  });

  it("lets one of many conditional uploads win, parts and whole ones together", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, i) => {
        const params = { Bucket, Key: "race", Body: Buffer.alloc(i % 2 ? 6 * MIB : 10, i), IfNoneMatch: "*" };
        return i % 2
          ? new Upload({ client: s3, params, partSize: 5 * MIB }).done()
          : s3.send(new PutObjectCommand(params));
      }),
    );
    const lost = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason.name] : []));
    expect(lost).toEqual(Array(11).fill("PreconditionFailed"));
  });

  it("presigns reads and writes, and answers overrides", async () => {
    const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "pre signed", ContentType: "text/plain" }));
    expect(
      (await fetch(url, { method: "PUT", body: "by URL", headers: { "content-type": "text/plain" } })).status,
    ).toBe(200);
    const asked = new GetObjectCommand({ Bucket, Key: "pre signed", ResponseContentDisposition: "attachment" });
    const reply = await fetch(await getSignedUrl(s3, asked));
    expect(reply.headers.get("content-disposition")).toBe("attachment");
    expect(await reply.text()).toBe("by URL");
  });

  it("answers a wrong secret, clock and checksum with S3's codes, also in the middle of an upload", async () => {
    const wrong = new S3Client({
      endpoint: server.url,
      region: "r",
      forcePathStyle: true,
      credentials: { ...KEYS, secretAccessKey: "x" },
    });
    const late = new S3Client({
      endpoint: server.url,
      region: "r",
      forcePathStyle: true,
      credentials: KEYS,
      systemClockOffset: -16 * 60_000,
      maxAttempts: 1,
    });
    const Body = randomBytes(9 * MIB);
    await expect(wrong.send(new PutObjectCommand({ Bucket, Key: "no", Body }))).rejects.toMatchObject({
      name: "SignatureDoesNotMatch",
    });
    await expect(late.send(new PutObjectCommand({ Bucket, Key: "no", Body }))).rejects.toMatchObject({
      name: "RequestTimeTooSkewed",
    });
    await expect(
      s3.send(new PutObjectCommand({ Bucket, Key: "no", Body, ChecksumSHA256: createHash("sha256").digest("base64") })),
    ).rejects.toMatchObject({ name: "BadDigest" });
    await expect(s3.send(new HeadObjectCommand({ Bucket, Key: "no" }))).rejects.toMatchObject({ name: "NotFound" });
    for (const client of [wrong, late]) client.destroy();
  });

  it("keeps nothing of an upload whose client went away", async () => {
    const before = (await readdir(join(dir, "data", "blobs"))).length;
    const { pathname, search } = new URL(await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "gone" })));
    const { port } = server;
    const sent = request({
      port,
      path: pathname + search,
      method: "PUT",
      headers: { host: `127.0.0.1:${port}`, "content-length": 2 * MIB },
    });
    sent.on("error", () => undefined);
    await new Promise<void>((resolve) => sent.write(Buffer.alloc(MIB), () => resolve()));
    await expect.poll(async () => (await readdir(join(dir, "data", "blobs"))).length).toBe(before + 1);
    sent.destroy();
    await expect.poll(async () => (await readdir(join(dir, "data", "blobs"))).length).toBe(before);
  });

  it("lives on when clients go away before they are answered", async () => {
    const { pathname, search } = new URL(await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "rude" })));
    const { port } = server;
    for (let i = 0; i < 50; i++) {
      const sent = request({
        port,
        path: pathname + search,
        method: i % 2 ? "PUT" : "POST",
        headers: { host: `127.0.0.1:${port}` },
      });
      sent.on("error", () => undefined);
      await new Promise<void>((resolve) => sent.end(Buffer.alloc(1000), () => resolve()));
      sent.destroy();
    }
    expect(await s3.send(new HeadObjectCommand({ Bucket, Key: "large" }))).toMatchObject({ ContentLength: 200 * MIB });
  });

  it("starts again with everything in place, uploads in progress too", async () => {
    const upload = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: "unfinished" }));
    const { port } = server;
    await server.close();
    await writeFile(join(dir, "data", "blobs", "orphan"), "left by a crash");
    server = await startS3({ dir: join(dir, "data"), port, credentials: KEYS, onError: (error) => errors.push(error) });
    expect(server.opened).toMatchObject({ sweptBlobs: 1, damaged: [] });
    expect(await s3.send(new HeadObjectCommand({ Bucket, Key: "large" }))).toMatchObject({ ContentLength: 200 * MIB });
    expect(await readdir(join(dir, "data", "uploads"))).toEqual([upload.UploadId]);
    await expect(startS3({ dir: join(dir, "data"), credentials: KEYS })).rejects.toThrow(/in use by process/);
  });
});

const AWS = await findAws();
const PYTHON = await findPython("boto3");
const env = () => ({
  PATH: process.env.PATH,
  HOME: dir,
  AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
  AWS_DEFAULT_REGION: "us-east-1",
  AWS_ENDPOINT_URL: server.url,
});
const HOW = "python3 -m venv /opt/fabric-test-tools && /opt/fabric-test-tools/bin/pip install boto3 awscli";

function needs(tool: string | undefined, name: string): typeof it | typeof it.skip {
  if (tool === undefined) console.log(`skipped: ${name} against the embedded endpoint: not found (${HOW})`);
  return tool === undefined ? it.skip : it;
}

describe("aws-cli", () => {
  const aws = async (...args: string[]) => (await run(AWS!, args, { env: env() })).stdout;

  needs(AWS, "aws-cli 2.13 or 1.29")(
    "makes a bucket, syncs a tree both ways, lists, moves, presigns and removes",
    async () => {
      const tree = join(dir, "tree");
      await mkdir(join(tree, "deep", "ünï"), { recursive: true });
      await writeFile(join(tree, "large.bin"), randomBytes(20 * MIB));
      await writeFile(join(tree, "deep", "ünï", "a b+c.txt"), "named");
      await writeFile(join(tree, "empty"), "");
      // Otherwise aws-cli 1 signs URLs in the way of version 2, which nothing here accepts.
      await mkdir(join(dir, ".aws"));
      await writeFile(join(dir, ".aws", "config"), "[default]\ns3 =\n    signature_version = s3v4\n");
      await aws("s3", "mb", "s3://cli");
      await aws("s3", "sync", tree, "s3://cli/tree", "--quiet");
      expect(await aws("s3", "sync", tree, "s3://cli/tree")).toBe("");
      await aws("s3", "sync", "s3://cli/tree", join(dir, "back"), "--quiet");
      for (const file of ["large.bin", "empty", join("deep", "ünï", "a b+c.txt")])
        expect((await readFile(join(dir, "back", file))).equals(await readFile(join(tree, file)))).toBe(true);
      expect(await aws("s3", "ls", "s3://cli/tree/")).toMatch(/PRE deep\/[\s\S]*empty[\s\S]*20971520 large\.bin/);
      await aws("s3", "mv", "s3://cli/tree/large.bin", "s3://cli/moved", "--quiet");
      expect(await (await fetch((await aws("s3", "presign", "s3://cli/tree/empty")).trim())).text()).toBe("");
      await aws("s3", "rb", "s3://cli", "--force");
      expect(await aws("s3", "ls")).not.toContain("cli");
    },
    120_000,
  );
});

describe("boto3", () => {
  needs(PYTHON, "boto3")(
    "does all that its script asks of the endpoint",
    async () => {
      const script = fileURLToPath(new URL("./s3_boto3.py", import.meta.url));
      const { stdout } = await run(PYTHON!, [script, server.url, "boto"], { env: env() });
      expect(stdout.trim()).toBe("ok");
    },
    120_000,
  );
});
