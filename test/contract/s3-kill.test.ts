/** The S3 endpoint killed with kill -9 while objects are overwritten: each is the old one or the new one, whole. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { s3ObjectStore } from "../../core/object-store-s3.ts";

const KEYS = { accessKeyId: "kill", secretAccessKey: "kill-secret" };
const MAIN = fileURLToPath(new URL("../../dist/s3.js", import.meta.url));
const ROUNDS = 5;
const OBJECTS = 6;
const MIB = 1024 * 1024;
let dir: string;
let child: ChildProcess;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fabric-s3-kill-"));
});
afterAll(async () => {
  child.kill("SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

async function start(): Promise<{ url: string; ready: Record<string, unknown> }> {
  child = spawn(process.execPath, [MAIN, "--dir", dir], {
    env: {
      PATH: process.env.PATH,
      FABRIC_S3_ACCESS_KEY_ID: KEYS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const ready = JSON.parse(line) as Record<string, unknown>;
    expect(ready).toMatchObject({ ready: true });
    return { url: `http://127.0.0.1:${ready.port}`, ready };
  }
  throw new Error("the endpoint ended before it was ready");
}

/** Version `n` of an object: some small, some large enough for several parts; its first byte says which version. */
const version = (object: number, n: number): Buffer => Buffer.alloc(object % 2 ? 20_000 : 9 * MIB, n);

it("never shows a torn object, loses no acknowledged write, and starts again", async () => {
  let { url } = await start();
  const acknowledged = Array<number>(OBJECTS).fill(0);
  const attempted = Array<number>(OBJECTS).fill(0);
  for (let round = 0; round < ROUNDS; round++) {
    const store = s3ObjectStore({ endpoint: url, region: "us-east-1", bucket: "kill", ...KEYS });
    await store.ensureBucket();
    let writes = 0;
    const enough = deferred();
    const writers = acknowledged.map(async (_, object) => {
      for (;;) {
        const n = ++attempted[object]!;
        const body = Readable.from([version(object, n % 251)], { objectMode: false });
        try {
          await (object % 3
            ? store.putStream(`o/${object}`, body)
            : store.put(`o/${object}`, version(object, n % 251)));
        } catch (error) {
          expect(error).toMatchObject({ code: "storage_unavailable" });
          return;
        }
        acknowledged[object] = n;
        if (++writes === 12 + round * 5) enough.resolve();
      }
    });
    await enough.promise;
    child.kill("SIGKILL");
    await once(child, "exit");
    await Promise.all(writers);
    store.close();

    ({ url } = await start());
    const after = s3ObjectStore({ endpoint: url, region: "us-east-1", bucket: "kill", ...KEYS });
    for (let object = 0; object < OBJECTS; object++) {
      const found = await after.get(`o/${object}`);
      if (!found) {
        expect(acknowledged[object]).toBe(0);
        continue;
      }
      const hash = createHash("sha256");
      for await (const chunk of found.body) hash.update(chunk);
      const whole = [acknowledged[object]!, attempted[object]!].map((n) =>
        createHash("sha256")
          .update(version(object, n % 251))
          .digest("hex"),
      );
      expect(whole).toContain(hash.digest("hex"));
    }
    after.close();
  }
  await expectNoOrphans();
}, 120_000);

/** What the last start left on disk is what the meta files and unfinished uploads name, and nothing else. */
async function expectNoOrphans(): Promise<void> {
  const named = new Set<string>();
  const keys = join(dir, "buckets", "kill", "keys");
  for (const file of await readdir(keys))
    for (const blob of JSON.parse(await readFile(join(keys, file), "utf8")).blobs) named.add(blob.id);
  for (const upload of await readdir(join(dir, "uploads")))
    for (const file of await readdir(join(dir, "uploads", upload)))
      if (file !== "upload.json")
        named.add(JSON.parse(await readFile(join(dir, "uploads", upload, file), "utf8")).blob.id);
  expect(new Set(await readdir(join(dir, "blobs")))).toEqual(named);
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

it("ends cleanly on SIGTERM and gives its directory back", async () => {
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
  expect(await readdir(dir)).not.toContain("lock");
});
