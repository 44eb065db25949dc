/** The object store's contract against the embedded endpoint always, and against other S3 servers where they are installed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { s3ObjectStore } from "../../core/object-store-s3.ts";
import { startS3 } from "../../local/s3/server.ts";
import { COPIED_AT_ONCE, COPY_PART, objectStoreContract, type StoreUnderTest } from "./object-store.ts";
import { findTool } from "./tools.ts";

const KEYS = { accessKeyId: "contract", secretAccessKey: "contract-secret" };
const copies = { mostCopiedBytes: COPIED_AT_ONCE, copyPartBytes: COPY_PART };
const connect = (endpoint: string) =>
  s3ObjectStore({ endpoint, region: "us-east-1", bucket: "contract", ...KEYS, ...copies });

objectStoreContract("embedded endpoint", async () => {
  const dir = await mkdtemp(join(tmpdir(), "fabric-s3-"));
  const server = await startS3({ dir, credentials: KEYS });
  const store = connect(server.url);
  return {
    store,
    async close() {
      store.close();
      await server.close();
      await rm(dir, { recursive: true });
    },
  };
});

describe("object store without a server", () => {
  it("says storage_unavailable, and names the endpoint", async () => {
    const store = connect(`http://127.0.0.1:${await freePort()}`);
    await expect(store.put("key", "value")).rejects.toMatchObject({
      code: "storage_unavailable",
      message: expect.stringContaining("127.0.0.1"),
    });
    await expect(store.ping()).rejects.toMatchObject({ code: "storage_unavailable" });
    store.close();
  });

  it("signs URLs for the host that clients outside see", async () => {
    const store = s3ObjectStore({
      endpoint: "http://127.0.0.1:1",
      publicEndpoint: "https://s3.example.org",
      region: "us-east-1",
      bucket: "b",
      ...KEYS,
    });
    expect(await store.presignGet("a/b", 60)).toMatch(/^https:\/\/s3\.example\.org\/b\/a\/b\?.*X-Amz-Expires=60/);
    store.close();
  });
});

const MOTO = await findTool("moto_server");
const VERSITY = await findTool("versitygw");
const WEED = await findTool("weed");

if (MOTO)
  objectStoreContract(
    "moto",
    (): Promise<StoreUnderTest> => startServer((port) => [MOTO, ["-H", "127.0.0.1", "-p", String(port)]]),
    {
      "conditional races": "moto checks and writes in two steps",
      "strange names": "moto routes by path and joins slashes",
      signatures: "moto does not check them",
    },
  );
else skip("moto", "moto_server is neither on PATH nor in FABRIC_TEST_TOOLS");

if (VERSITY)
  objectStoreContract(
    "versitygw",
    () =>
      startServer((port, dir) => [
        VERSITY,
        ["--access", KEYS.accessKeyId, "--secret", KEYS.secretAccessKey, "--port", `127.0.0.1:${port}`, "posix", dir],
      ]),
    {
      "strange names": "its posix backend takes keys as paths",
      "conditional races": "its If-None-Match can race",
      "byte order": "it lists directories in their own order",
    },
  );
else skip("versitygw", "versitygw is not on PATH (go install github.com/versity/versitygw/cmd/versitygw@latest)");

if (WEED) {
  const identity = {
    name: "contract",
    credentials: [{ accessKey: KEYS.accessKeyId, secretKey: KEYS.secretAccessKey }],
    actions: ["Admin"],
  };
  const ports = await Promise.all(
    ["master", "volume", "filer"].flatMap((part) =>
      [`${part}.port`, `${part}.port.grpc`].map(async (option) => `-${option}=${await freePort()}`),
    ),
  );
  // The options of compose.yaml.
  const script = `cd "$0"; printf %s "$1" > s3.json; shift; exec "$@" -dir=. -volume.max=0 -master.volumeSizeLimitMB=1024 \
    -master.electionTimeout=1s -master.telemetry=false -s3 -s3.config=s3.json -ip=127.0.0.1 -ip.bind=127.0.0.1`;
  objectStoreContract(
    "SeaweedFS",
    () =>
      startServer((port, dir) => [
        "/bin/sh",
        ["-euc", script, dir, JSON.stringify({ identities: [identity] }), WEED, "server", `-s3.port=${port}`, ...ports],
      ]),
    { "strange names": "its filer takes keys as paths" },
  );
} else skip("SeaweedFS", "weed is not on PATH");

function skip(name: string, reason: string): void {
  console.log(`skipped: object store contract against ${name}: ${reason}`);
  describe(`object store: ${name}`, () => it.skip(reason, () => undefined));
}

async function startServer(command: (port: number, dir: string) => [string, string[]]): Promise<StoreUnderTest> {
  const dir = await mkdtemp(join(tmpdir(), "fabric-s3-other-"));
  const port = await freePort();
  const child = spawn(...command(port, dir), { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}`;
  const store = connect(url);
  const deadline = Date.now() + 60_000;
  while (
    !(await fetch(url).then(
      () => true,
      () => false,
    ))
  ) {
    if (Date.now() > deadline || child.exitCode !== null) throw new Error(`${command(port, dir)[0]} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    store,
    async close() {
      store.close();
      child.kill("SIGKILL");
      await once(child, "exit");
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
