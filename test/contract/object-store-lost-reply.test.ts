/** A conditional write whose reply gets lost: the SDK repeats it and meets its own object, which is still a win. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ObjectStore } from "../../core/object-store.ts";
import { s3ObjectStore } from "../../core/object-store-s3.ts";
import { type RunningS3, startS3 } from "../../local/s3/server.ts";

const KEYS = { accessKeyId: "lost", secretAccessKey: "lost-secret" };
let dir: string;
let server: RunningS3;
let proxy: Server;
let store: ObjectStore & { close(): void };
let loses: (incoming: IncomingMessage) => boolean = () => false;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fabric-s3-lost-"));
  server = await startS3({ dir, credentials: KEYS });
  proxy = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const lost = loses(incoming);
    const onward = request({ port: server.port, method, path: url, headers }, (reply) => {
      // The reply has come, so the write has happened; its client never hears of it.
      if (lost) return void outgoing.destroy();
      outgoing.writeHead(reply.statusCode!, reply.headers);
      reply.pipe(outgoing);
    });
    incoming.pipe(onward);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  store = s3ObjectStore({ endpoint, region: "us-east-1", bucket: "lost", ...KEYS });
  await store.ensureBucket();
});
afterAll(async () => {
  store.close();
  proxy.close();
  await server.close();
  await rm(dir, { recursive: true });
});

/** Loses the first reply to a request that fits. */
function lose(fits: (incoming: IncomingMessage) => boolean): void {
  let left = 1;
  loses = (incoming) => fits(incoming) && left-- > 0;
}

it("counts a put as created when the repeat finds its own object, and as lost when it finds another's", async () => {
  lose(({ method }) => method === "PUT");
  expect(await store.put("mine", "first", { ifNoneMatch: true })).toMatchObject({
    created: true,
    etag: expect.any(String),
  });
  lose(({ method }) => method === "PUT");
  expect(await store.put("mine", "second", { ifNoneMatch: true })).toEqual({ created: false });
});

it("counts a completed multipart upload as created", async () => {
  lose(({ method, url }) => method === "POST" && url!.includes("uploadId"));
  const body = Readable.from([randomBytes(9 * 1024 * 1024)], { objectMode: false });
  expect(await store.putStream("parts", body, { ifNoneMatch: true })).toMatchObject({ created: true });
});
