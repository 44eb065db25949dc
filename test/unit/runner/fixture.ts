/** A runner over real Redis, S3 and the process engine, with Python functions in a bundle; and what tests ask of it. */

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { createGzip } from "node:zlib";
import pino from "pino";
import tar from "tar-stream";
import { bullmqQueue } from "../../../core/bullmq-queue.ts";
import { createCatalog } from "../../../core/catalog.ts";
import { systemClock } from "../../../core/clock.ts";
import type { ContainerEngine } from "../../../core/engine.ts";
import { newId } from "../../../core/ids.ts";
import type { ImageStore } from "../../../core/image-store.ts";
import { functionKey, type InvocationRecord, isTerminal, type NewInvocation } from "../../../core/invocation.ts";
import { createOutbox } from "../../../core/outbox.ts";
import { followOutcomes } from "../../../core/outcomes.ts";
import { createRegistry } from "../../../core/registry.ts";
import { runCommand } from "../../../core/run-command.ts";
import { type FunctionSpec, functionSpecSchema } from "../../../core/spec.ts";
import { keepReleasing } from "../../../gateway/release.ts";
import { processEngine } from "../../../runner/engine/process.ts";
import type { LineLimit } from "../../../runner/line-limit.ts";
import { probe } from "../../../runner/reach.ts";
import { createRunner, type Runner } from "../../../runner/runner.ts";
import { startRedis, until } from "../../support/redis.ts";
import { startTestS3 } from "../../support/s3.ts";
import { connectState } from "../../support/state.ts";

const SDK = fileURLToPath(new URL("../../../sdk/python/src", import.meta.url));

export type Functions = Record<string, Partial<FunctionSpec> & { qualname?: string }>;

export async function startTestRunner(
  source: string,
  functions: Functions,
  settings: {
    leaseMs?: number;
    cpuMillis?: number;
    memoryBytes?: number;
    cancelGraceMs?: number;
    logLevel?: string;
    logLimit?: LineLimit;
    /** An image by this digest, which this store has or lacks. */
    image?: { ref: string; store: ImageStore };
  } = {},
) {
  const dataDir = await mkdtemp(join(tmpdir(), "fr-"));
  const redis = await startRedis();
  const s3 = await startTestS3();
  const objects = await s3.objects();
  const leaseMs = settings.leaseMs ?? 5_000;
  const log = pino({ level: settings.logLevel ?? "silent" }, pino.destination(2));
  let current: Runner | undefined;
  // A Redis that goes away is what some tests are about.
  const onError = (): void => undefined;
  const connect = async () => {
    const state = await connectState({ url: redis.url, prefix: "t", recordTtlSeconds: 600, onError });
    const queue = bullmqQueue({ url: redis.url, prefix: "t", lockMs: leaseMs, onError });
    const registry = await createRegistry({ objects, state, clock: systemClock });
    return { state, queue, registry };
  };
  const { state, queue, registry } = await connect();
  const image = join(dataDir, "image");
  await mkdir(join(image, "bin"), { recursive: true });
  const ref = settings.image?.ref ?? image;
  const { stdout } = await runCommand("python3", ["-c", "import sys; print(sys.executable)"]);
  await symlink(stdout.trim(), join(image, "bin", "python"));

  const deploy = async (text: string, specs: Functions = functions) => {
    const pack = tar.pack();
    pack.entry({ name: "app.py" }, text);
    pack.finalize();
    const archive = await buffer(pack.pipe(createGzip()));
    const digest = createHash("sha256").update(archive).digest("hex");
    await objects.put(`sources/${digest}.tar.gz`, archive);
    const list = Object.entries(specs).map(([name, { qualname = name, ...spec }]) =>
      functionSpecSchema.parse({ name, image: "i", entry: { module: "app", qualname }, ...spec }),
    );
    const images = { i: { python: "3.11", layers: [] } };
    return (await registry.publish({ app: "t", source: digest, images, functions: list }, { i: ref })).manifest;
  };
  let version = (await deploy(source)).version;

  const identity = { fabric: "fab_t", node: "nod_t", runner: "run-nod_t" };
  const facts = {
    ...{ id: identity.node, runner: identity.runner, engine: "process", hostname: "t", startedAt: 0 },
    ...{ cpuMillis: settings.cpuMillis ?? 64_000, memoryBytes: settings.memoryBytes ?? 2 ** 40, gpus: [] },
  };
  await state.capacity.announce(facts, 600_000);
  const processes = processEngine({ dataDir });
  const engine: ContainerEngine = { ...processes, start: (spec) => processes.start({ ...spec, image }) };

  async function startRunner(): Promise<Runner> {
    const own = await connect();
    const outbox = createOutbox({ state: own.state, queue: own.queue, clock: systemClock, log });
    const runner = createRunner({
      ...own,
      ...{ outbox, catalog: createCatalog(own.registry), bodyBytes: 8e6 },
      outcomes: await followOutcomes(own.state, systemClock, { waiter: identity.runner, onEnded: outbox.ended }),
      ...{ objects, engine, clock: systemClock, log, identity, facts, dataDir, sdkDir: SDK, leaseMs },
      ...{
        bootTimeoutMs: 20_000,
        cancelGraceMs: settings.cancelGraceMs ?? 1_000,
        storagePatienceMs: 60_000,
        bucket: "fabric",
        images: settings.image?.store,
      },
      ...{
        maxSourceBytes: 1e8,
        maxBoots: 4,
        logLimit: settings.logLimit ?? { perSecond: 1_000, burst: 5_000 },
        probe: () => probe(redis.url),
      },
    });
    current = runner;
    await runner.start();
    return runner;
  }
  await startRunner();

  const stopReleasing = await keepReleasing({ state, queue, clock: systemClock, log });

  /** Accepts a call, which offers it, and queues nothing. */
  const offer = async (fn: string, args: unknown[] = [], more: Partial<NewInvocation> = {}): Promise<string> => {
    const id = more.id ?? newId("inv");
    const input = Buffer.from(JSON.stringify({ args, kwargs: {} }));
    const base = { id, app: "t", fn, version, encoding: "json" as const, input, acceptPickle: false };
    await state.invocations.accept({ ...base, timeoutMs: 30_000, retries: 0, ...more });
    return id;
  };
  const enqueue = async (fn: string, id: string): Promise<void> => {
    await queue.add(functionKey("t", fn), { id, generation: 1 });
    await state.invocations.enqueued({ key: functionKey("t", fn), id, generation: 1 });
  };
  const call = async (fn: string, args: unknown[] = [], more: Partial<NewInvocation> = {}): Promise<string> => {
    const id = await offer(fn, args, more);
    await enqueue(fn, id);
    return id;
  };
  const ended = (id: string, ms = 20_000): Promise<InvocationRecord> =>
    until(
      async () => {
        const record = await state.invocations.get(id);
        return record && isTerminal(record.state) ? record : undefined;
      },
      ms,
      `${id} ends`,
    );

  return {
    ...{ state, queue, objects, registry, redis, engine, dataDir, call, offer, enqueue, ended, startRunner },
    runner: () => current!,
    async deploy(text: string, specs?: Functions) {
      version = (await deploy(text, specs)).version;
    },
    async value(fn: string, ...args: unknown[]) {
      const record = await ended(await call(fn, args));
      if (record.state !== "succeeded") throw new Error(JSON.stringify(record.error));
      return JSON.parse(record.result!.inline!.toString());
    },
    containers: () => engine.list({}),
    async close() {
      await current!.drain(0);
      await stopReleasing();
      await state.close();
      objects.close();
      await redis.kill();
      await s3.close();
      await redis.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
