/** Puts the runner of this node together and runs it: at once, although Redis and S3 may come later. */

import { mkdirSync } from "node:fs";
import { bullmqQueue } from "../core/bullmq-queue.ts";
import { createCatalog } from "../core/catalog.ts";
import { systemClock } from "../core/clock.ts";
import { loadConfig, machineCores } from "../core/config.ts";
import { dockerImages } from "../core/docker-images.ts";
import type { EngineName } from "../core/engine.ts";
import type { ImageShelf, ImageStore } from "../core/image-store.ts";
import { createLog } from "../core/log.ts";
import { s3ObjectStore } from "../core/object-store-s3.ts";
import { createOutbox } from "../core/outbox.ts";
import { followOutcomes } from "../core/outcomes.ts";
import { processImages } from "../core/process-images.ts";
import { redisState } from "../core/redis-state.ts";
import { createRegistry } from "../core/registry.ts";
import { PYTHON_SDK } from "../core/root.ts";
import { prepareSdkDir } from "../core/sdk-dir.ts";
import { untilDone } from "../core/until-done.ts";
import { type Announced, announce } from "./announce.ts";
import { chooseEngine } from "./choose-engine.ts";
import { dockerEngine } from "./engine/docker.ts";
import { processEngine } from "./engine/process.ts";
import { nodeFacts } from "./node-facts.ts";
import { nodeIdentity } from "./node-identity.ts";
import { probe } from "./reach.ts";
import { createRunner, type Runner } from "./runner.ts";

const DRAIN_MS = 10_000;
/** What a container may print at once, as seconds of its share. */
const LOG_BURST_SECONDS = 5;

const config = loadConfig();
const log = createLog("runner", config.logLevel);
mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
const identity = nodeIdentity(config);
const stopped = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stopped.abort());

let runner: Runner | undefined;
let stopCalls = async (): Promise<void> => {};
let warnedAt = 0;
function onRedisError(error: Error): void {
  const { code } = error as NodeJS.ErrnoException;
  if (Date.now() - warnedAt < 5_000) return;
  warnedAt = Date.now();
  log.warn({ error: error.message, code }, "redis");
}

const { redisUrl: url, redisPrefix: prefix, leaseMs } = config;
const recordTtlSeconds = config.resultTtlSeconds;
const state = redisState({ url, prefix, recordTtlSeconds, onError: onRedisError });
const queue = bullmqQueue({ url, prefix, lockMs: leaseMs, onError: onRedisError });
const objects = s3ObjectStore({
  endpoint: config.s3Endpoint,
  region: config.s3Region,
  bucket: config.bucket,
  accessKeyId: config.s3AccessKeyId,
  secretAccessKey: config.s3SecretAccessKey,
});

async function start(): Promise<Announced> {
  const { engine, report } = await chooseEngine(config.engine, {
    docker: () =>
      dockerEngine({
        fabric: identity.fabric,
        node: identity.node,
        dockerHost: config.dockerHost || undefined,
        runtime: config.dockerRuntime || undefined,
        allow: config.egressAllow.split(",").filter((range) => range !== ""),
        allowOpenEgress: config.openEgress === "yes",
        encryptOverlays: config.encryptOverlays === "yes",
      }),
    process: () => processEngine({ dataDir: config.dataDir, address: config.nodeAddress }),
  });
  const sdkDir = await prepareSdkDir({
    dataDir: config.dataDir,
    source: PYTHON_SDK,
    caBundle: config.caBundle || undefined,
    pipIndexUrl: config.pipIndexUrl || undefined,
    signal: stopped.signal,
    onNotice: (notice) => report.notices.push(notice),
  });
  for (const notice of report.notices) log.warn({ engine: report.engine }, notice);
  const waiting = (error: Error): void => log.warn({ error: error.message }, "waiting for a store");
  await untilDone(() => state.ping(), stopped.signal, waiting);
  await untilDone(() => objects.ensureBucket(), stopped.signal, waiting);
  const registry = await createRegistry({ objects, state, clock: systemClock });
  const outbox = createOutbox({ state, queue, clock: systemClock, log });
  // Under the runner's own name, so that after a restart it is told of what it waited for before.
  const outcomes = await followOutcomes(state, systemClock, { waiter: identity.runner, onEnded: outbox.ended });
  stopCalls = async () => {
    outcomes.close();
    await outbox.close();
  };
  const facts = await nodeFacts(config, identity, report, Date.now());
  const announced = await announce({ capacity: state.capacity, facts, clock: systemClock, log, leaseMs });
  runner = createRunner({
    ...{ state, queue, objects, registry, engine, clock: systemClock, log, identity, facts, sdkDir, leaseMs },
    ...{ outbox, outcomes, catalog: createCatalog(registry), bodyBytes: config.maxBodyBytes },
    ...imagesOf(engine.name),
    imageRetentionDays: config.imageRetentionDays,
    dataDir: config.dataDir,
    bootTimeoutMs: config.bootTimeoutMs,
    cancelGraceMs: config.cancelGraceMs,
    bucket: config.bucket,
    storagePatienceMs: config.storagePatienceSeconds * 1_000,
    maxSourceBytes: config.maxSourceBytes,
    probe: () => probe(url),
    maxBoots: Math.max(4, machineCores() * 2),
    logLimit: { perSecond: config.logLinesPerSecond, burst: config.logLinesPerSecond * LOG_BURST_SECONDS },
  });
  await runner.start();
  process.stdout.write(`${JSON.stringify({ ready: true, engine: report.engine, notices: report.notices })}\n`);
  return announced;
}

function imagesOf(engine: EngineName): { images?: ImageStore; shelf: ImageShelf } {
  if (engine === "process") return { shelf: processImages(config.dataDir) };
  const images = dockerImages({ dockerHost: config.dockerHost || undefined, fabric: identity.fabric });
  return { images, shelf: images };
}

let announced: Announced | undefined;
try {
  announced = await start();
  if (!stopped.signal.aborted)
    await new Promise((resolve) => stopped.signal.addEventListener("abort", resolve, { once: true }));
} catch (error) {
  if (!stopped.signal.aborted) {
    log.fatal({ err: error }, "the runner cannot start");
    process.exit(1);
  }
}
log.info("stopping");
await announced?.leaving();
await runner?.drain(DRAIN_MS);
await stopCalls();
await announced?.withdraw();
await Promise.race([queue.close(), new Promise((resolve) => setTimeout(resolve, 2_000))]);
await state.close();
objects.close();
process.exit(0);
