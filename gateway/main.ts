/** Puts the gateway together and listens: at once, although Redis and S3 may come later. */

import { rm } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { bullmqQueue } from "../core/bullmq-queue.ts";
import { createCatalog } from "../core/catalog.ts";
import { systemClock } from "../core/clock.ts";
import { keepCollectingImages } from "../core/collect-images.ts";
import { type Config, loadConfig } from "../core/config.ts";
import { askDocker, dockerClient } from "../core/docker-client.ts";
import { dockerImages } from "../core/docker-images.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { ImageBuilder } from "../core/image-builder.ts";
import type { ImageShelf, ImageStore } from "../core/image-store.ts";
import { fabricIdOf } from "../core/kept-id.ts";
import { createLog } from "../core/log.ts";
import { s3ObjectStore } from "../core/object-store-s3.ts";
import { createOutbox } from "../core/outbox.ts";
import { followOutcomes } from "../core/outcomes.ts";
import { processImages } from "../core/process-images.ts";
import { failFastRedis } from "../core/redis/connection.ts";
import { redisState } from "../core/redis-state.ts";
import { createRegistry } from "../core/registry.ts";
import { PYTHON_SDK } from "../core/root.ts";
import { prepareSdkDir } from "../core/sdk-dir.ts";
import { untilDone } from "../core/until-done.ts";
import { s3UploadStore } from "../core/upload-store-s3.ts";
import { createApp } from "./app.ts";
import { keepArchiving } from "./archive-logs.ts";
import { dockerImageBuilder } from "./build/docker-builder.ts";
import { processImageBuilder } from "./build/process-builder.ts";
import { keepCollecting } from "./collect.ts";
import { collectStoredImages } from "./collect-stored-images.ts";
import type { GatewayDeps } from "./deps.ts";
import { keepMakingTicks } from "./make-ticks.ts";
import { createMetrics } from "./metrics.ts";
import { createQueueLimits } from "./queue-limits.ts";
import { keepReleasing } from "./release.ts";
import { keepSharing } from "./share-images.ts";
import { type Fetch, startingApp } from "./starting-app.ts";
import { keepSweeping } from "./sweep.ts";
import { makeTempDir } from "./temp-dir.ts";
import { createWaits } from "./waits.ts";
import { addressGuard } from "./webhooks/address-guard.ts";
import { keepDelivering } from "./webhooks/deliver.ts";
import { webhookSecret } from "./webhooks/secret.ts";

const SWEEP = { outboxAgeMs: 2_000, queuedAgeMs: 15_000, max: 500 };
const CLOSE_MS = 5_000;

const config = loadConfig();
const log = createLog("gateway", config.logLevel);
const clock = systemClock;
let fetch: Fetch = startingApp();

const connectionErrors = limitedWarnings("redis");
const redis = failFastRedis(config.redisUrl, connectionErrors);
const state = redisState({
  url: config.redisUrl,
  redis,
  prefix: config.redisPrefix,
  recordTtlSeconds: config.resultTtlSeconds,
  onError: connectionErrors,
});
const queue = bullmqQueue({
  url: config.redisUrl,
  producer: redis,
  prefix: config.redisPrefix,
  lockMs: config.leaseMs,
  onError: connectionErrors,
});
const s3 = {
  endpoint: config.s3Endpoint,
  publicEndpoint: config.s3PublicEndpoint || undefined,
  region: config.s3Region,
  bucket: config.bucket,
  accessKeyId: config.s3AccessKeyId,
  secretAccessKey: config.s3SecretAccessKey,
};
const objects = s3ObjectStore(s3);
const uploads = s3UploadStore(s3);

const server = createAdaptorServer({
  fetch: (request, env) => fetch(request, env),
  serverOptions: { requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 75_000 },
}) as Server;
await new Promise<void>((resolve, reject) => server.once("error", reject).listen(config.port, config.host, resolve));

const stopped = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.abort());
const tempDir = await makeTempDir();
const running = await start(config).catch((error: unknown) => {
  if (!stopped.signal.aborted) throw error;
  return undefined;
});
if (running) {
  process.stdout.write(`${JSON.stringify({ ready: true, port: (server.address() as AddressInfo).port })}\n`);
  await new Promise((resolve) => stopped.signal.addEventListener("abort", resolve));
}
await shutDown();

async function start({ leaseMs, adminToken, maxBodyBytes, maxSourceBytes }: Config) {
  const waiting = (error: Error): void => log.warn({ error: error.message }, "waiting for a store");
  await untilDone(() => objects.ensureBucket(), stopped.signal, waiting);
  await untilDone(() => state.ping(), stopped.signal, waiting);
  const registry = await createRegistry({
    objects,
    state,
    clock,
    onError: (error) => log.warn({ error: asFabricError(error).message }, "an app's current version was not looked up"),
  });
  const outbox = createOutbox({ state, queue, clock, log });
  const outcomes = await followOutcomes(state, clock, { onEnded: outbox.ended });
  const metrics = createMetrics({ state, queue });
  const waits = createWaits({ state, queue, clock });
  const { builder, images, shelf } = await chooseBuilder(config);
  const deps: GatewayDeps = {
    state,
    queue,
    outbox,
    objects,
    uploads,
    registry,
    builder,
    shelf,
    catalog: createCatalog(registry),
    outcomes,
    metrics,
    waits,
    queueLimits: createQueueLimits({ queue, outbox, waits, clock, log, maxQueued: config.maxQueued }),
    clock,
    log,
    adminToken,
    limits: { bodyBytes: maxBodyBytes, sourceBytes: maxSourceBytes },
    tempDir,
    publicUrl: config.url,
    webhookSecret: webhookSecret({ objects, clock, sealKey: config.sealKey || adminToken || config.s3SecretAccessKey }),
  };
  const app = createApp(deps);
  fetch = app.fetch as Fetch;
  const stopSweeping = keepSweeping({
    state,
    queue,
    clock,
    log,
    limits: { ...SWEEP, leaseMs, mapIdleMs: config.mapIdleSeconds * 1000 },
    onRepairs: (count) => metrics.repaired(count),
  });
  const owner = outcomes.waiter;
  const stopReleasing = await keepReleasing({ state, queue, clock, log });
  const stopTicks = keepMakingTicks(deps);
  const stopArchiving = keepArchiving({
    ...{ state, objects, clock, log, owner },
    limits: { ageMs: config.logArchiveSeconds * 1000, retentionDays: config.logRetentionDays },
  });
  const stopDelivering = await keepDelivering({ ...deps, isAllowed: addressGuard(config.webhookAllow) });
  const stopCollecting = keepCollecting({ ...deps, ttlSeconds: config.resultTtlSeconds });
  const stopSharing = images ? await keepSharing({ state, objects, images, owner, clock, log }) : async () => {};
  const stopCollectingImages = keepCollectingImages({
    ...{ state, registry, shelf, clock, log, retentionDays: config.imageRetentionDays },
    async after(keepMs) {
      const keys = await collectStoredImages({ state, registry, objects, clock }, keepMs);
      if (keys.length > 0) log.info({ keys }, "removed images from the bucket that no version needs any more");
    },
  });
  const stops = [
    stopSharing,
    stopCollectingImages,
    stopTicks,
    stopDelivering,
    stopCollecting,
    stopArchiving,
    stopSweeping,
    stopReleasing,
  ];
  return { registry, outcomes, outbox, stops };
}

/** Replies that wait are given what is known; then everything is let go. */
async function shutDown(): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  running?.outcomes.close();
  // A kept-alive connection becomes idle only after its last reply.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const force = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearInterval(idle);
  clearTimeout(force);
  await Promise.all(running?.stops.map((stop) => stop()) ?? []);
  await running?.outbox.close();
  running?.registry.close();
  await queue.close();
  await state.close();
  objects.close();
  uploads.close();
  await rm(tempDir, { recursive: true, force: true });
  process.exit(0);
}

/** An outage makes many errors a second; one line of them is enough. */
function limitedWarnings(what: string): (error: Error) => void {
  let quietUntil = 0;
  return (error) => {
    if (clock.monotonic() < quietUntil) return;
    quietUntil = clock.monotonic() + 5_000;
    log.warn({ what, error: error.message }, "connection trouble");
  };
}

interface BuilderAndImages {
  builder: ImageBuilder;
  /** Absent where images do not travel. */
  images?: ImageStore;
  shelf: ImageShelf;
}

/** Docker where a daemon answers or is asked for, otherwise environments on this machine. */
async function chooseBuilder(config: Config): Promise<BuilderAndImages> {
  const { dataDir, dockerHost, buildNetwork } = config;
  const settings = {
    dataDir,
    fabric: fabricIdOf(config),
    caBundle: config.caBundle || undefined,
    pipIndexUrl: config.pipIndexUrl || undefined,
  };
  const sdkDir = () => prepareSdkDir({ ...settings, source: PYTHON_SDK });
  if (!["auto", "docker", "process"].includes(config.engine))
    fail("bad_request", `FABRIC_ENGINE=${config.engine} is none of docker, process and auto`);
  if (config.engine === "docker" || (config.engine === "auto" && (await dockerAnswers(dockerHost)))) {
    const daemon = { dockerHost: dockerHost || undefined };
    const images = dockerImages({ ...daemon, fabric: settings.fabric });
    return { builder: dockerImageBuilder({ ...settings, ...daemon, sdkDir, buildNetwork }), images, shelf: images };
  }
  return { builder: processImageBuilder({ ...settings, sdkDir }), shelf: processImages(dataDir) };
}

async function dockerAnswers(dockerHost: string): Promise<boolean> {
  const docker = await dockerClient({ dockerHost })();
  try {
    await askDocker(() => docker.ping());
    return true;
  } catch (error) {
    if (asFabricError(error).code === "engine_unavailable") return false;
    throw error;
  }
}
