/** A gateway for route tests: the real app over real Redis and S3, without a port; images are "built" at once. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { createAdaptorServer } from "@hono/node-server";
import { pino } from "pino";
import { type Header, pack } from "tar-stream";
import { bullmqQueue } from "../../core/bullmq-queue.ts";
import { createCatalog } from "../../core/catalog.ts";
import { systemClock } from "../../core/clock.ts";
import { fail } from "../../core/errors.ts";
import type { ImageBuilder } from "../../core/image-builder.ts";
import type { FunctionKey, InvocationRecord, Outcome } from "../../core/invocation.ts";
import { createOutbox } from "../../core/outbox.ts";
import { followOutcomes } from "../../core/outcomes.ts";
import { processImages } from "../../core/process-images.ts";
import { createRegistry } from "../../core/registry.ts";
import { createApp } from "../../gateway/app.ts";
import type { GatewayApp } from "../../gateway/define-route.ts";
import type { GatewayDeps } from "../../gateway/deps.ts";
import { createMetrics } from "../../gateway/metrics.ts";
import { createQueueLimits } from "../../gateway/queue-limits.ts";
import { createWaits } from "../../gateway/waits.ts";
import { webhookSecret } from "../../gateway/webhooks/secret.ts";
import { startRedis } from "./redis.ts";
import { startTestS3 } from "./s3.ts";
import { connectState } from "./state.ts";

export const ADMIN = "admin-token-of-tests";

export interface TestGateway {
  app: GatewayApp;
  deps: GatewayDeps;
  redisUrl: string;
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Uploads a one-file source and deploys; answers the last event. */
  deploy(app: string, functions: object[], query?: string): Promise<any>;
  /** Ends every invocation of the function as the handler says, as a runner would; the returned function stops it. */
  serve(key: FunctionKey, handler: (record: InvocationRecord) => Outcome): Promise<() => Promise<void>>;
  /** Also listens: for tests about connections. */
  listen(): Promise<{ port: number; close(): Promise<void> }>;
  close(): Promise<void>;
}

/** Refuses a package named "missing", and waits for ever for one named "slow". */
export const instantBuilder: ImageBuilder = {
  async build(spec, onEvent, signal) {
    const packages = spec.layers.flatMap((layer) => (layer.kind === "pip" ? layer.packages : []));
    onEvent({ kind: "step", text: `python ${spec.python}` });
    if (packages.includes("missing")) fail("image_build_failed", "No matching distribution found for missing");
    if (packages.includes("slow")) await once(signal, "abort").then(() => signal.throwIfAborted());
    return { ref: `ref-${spec.python}-${packages.join("-")}`, cached: false };
  },
  has: async () => true,
  runPython: async (_python, _files, args) => ({ code: 0, stdout: JSON.stringify({ args }), stderr: "" }),
};

export async function startGateway(limits: Partial<GatewayDeps["limits"]> = {}): Promise<TestGateway> {
  const redis = await startRedis();
  const s3 = await startTestS3();
  const objects = await s3.objects();
  const state = await connectState({ url: redis.url, prefix: "t", recordTtlSeconds: 3600 });
  const queue = bullmqQueue({ url: redis.url, prefix: "t", lockMs: 15_000 });
  const registry = await createRegistry({ objects, state, clock: systemClock });
  const log = pino({ level: "silent" });
  const outbox = createOutbox({ state, queue, clock: systemClock, log });
  const outcomes = await followOutcomes(state, systemClock, { onEnded: outbox.ended });
  const tempDir = await mkdtemp(join(tmpdir(), "fabric-gateway-test-"));
  const waits = createWaits({ state, queue, clock: systemClock });
  const deps: GatewayDeps = {
    state,
    queue,
    outbox,
    objects,
    uploads: s3.uploads(),
    registry,
    builder: instantBuilder,
    shelf: processImages(tempDir),
    catalog: createCatalog(registry),
    outcomes,
    metrics: createMetrics({ state, queue }),
    waits,
    queueLimits: createQueueLimits({ queue, outbox, waits, clock: systemClock, log, maxQueued: 100_000 }),
    clock: systemClock,
    log,
    adminToken: ADMIN,
    limits: { bodyBytes: 1024 * 1024, sourceBytes: 8 * 1024 * 1024, ...limits },
    tempDir,
    publicUrl: "http://fabric.test",
    webhookSecret: webhookSecret({ objects, clock: systemClock, sealKey: ADMIN }),
  };
  const app = createApp(deps);
  const request = async (path: string, init: RequestInit = {}) =>
    app.request(path, { ...init, headers: { authorization: `Bearer ${ADMIN}`, ...init.headers } });

  return {
    app,
    deps,
    redisUrl: redis.url,
    request,
    deploy: (name, functions, query = "") => deployApp(request, name, functions, query),
    serve: (key, handler) => serveFunction(deps, key, handler),
    listen: () => listen(app),
    async close() {
      outcomes.close();
      await outbox.close();
      registry.close();
      await queue.close();
      await state.close();
      await s3.close();
      await redis.close();
      await rm(tempDir, { recursive: true, force: true });
    },
  };
}

export interface TarEntry {
  name: string;
  type?: "file" | "directory" | "symlink" | "link" | "character-device" | "block-device" | "fifo" | "contiguous-file";
  mode?: number;
  content?: string | Buffer;
  linkname?: string;
}

export async function tarGz(entries: TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content = "", ...header } of entries) {
    const isFile = (header.type ?? "file") === "file";
    // Equal entries make equal archives, also a second later.
    tar.entry({ mode: 0o644, mtime: new Date(0), ...header } as Header, isFile ? content : "");
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return gzipSync(Buffer.concat(chunks));
}

export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

export const lines = (text: string): any[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

async function deployApp(
  request: TestGateway["request"],
  app: string,
  functions: object[],
  query: string,
): Promise<any> {
  const archive = await tarGz([{ name: "app.py", content: "x = 1\n" }]);
  const source = sha256(archive);
  const upload = await request(`/v1/sources/${source}`, { method: "PUT", body: archive as Uint8Array<ArrayBuffer> });
  if (!upload.ok) throw new Error(await upload.text());
  const reply = await request(`/v1/apps/${app}/deployments${query}`, {
    method: "POST",
    body: JSON.stringify({ app, source, images: { main: { python: "3.11", layers: [] } }, functions }),
  });
  return lines(await reply.text()).at(-1);
}

export const functionSpec = (name: string, more: object = {}): object => ({
  name,
  image: "main",
  entry: { module: "app", qualname: name },
  ...more,
});

async function serveFunction(
  { state, queue }: GatewayDeps,
  key: FunctionKey,
  handler: (record: InvocationRecord) => Outcome,
): Promise<() => Promise<void>> {
  const reader = await queue.open(key, "run_test");
  let isStopped = false;
  let busy: Promise<void> = Promise.resolve();
  const drain = async (): Promise<void> => {
    for (let entry = await reader.next(); entry && !isStopped; entry = await reader.next()) {
      const claim = await state.invocations.claim(entry, { runner: "run_test", node: "nod_test", leaseMs: 15_000 });
      if (claim)
        await state.invocations.finish(entry, handler(claim.record), { startedAt: Date.now(), endedAt: Date.now() });
      await reader.acknowledge(entry);
    }
  };
  const next = () => {
    busy = busy.then(drain);
  };
  const stop = await state.hints.onWork((hinted) => hinted === key && next());
  next();
  return async () => {
    isStopped = true;
    stop();
    await busy;
    await reader.close();
  };
}

async function listen(app: GatewayApp): Promise<{ port: number; close(): Promise<void> }> {
  const server = createAdaptorServer({ fetch: app.fetch });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      (server as import("node:http").Server).closeAllConnections();
      await once(server, "close");
    },
  };
}
