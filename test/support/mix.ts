/** A seeded random mix of faults under load: everything heals in the end, and every promise must hold. */
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FaultFabric, KINDS, LEASE_MS, passes, startFaultFabric } from "./fault-fabric.ts";
import { type Fault, mixFaults } from "./mix-faults.ts";
import { MIX_LOADS } from "./mix-loads.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { type ExtraRunner, startExtraRunner } from "./runner.ts";
import { startTestS3, TEST_CREDENTIALS, type TestS3 } from "./s3.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

export interface MixOptions {
  seed: number;
  seconds: number;
  perSecond: number;
  onEvent?(line: string): void;
}

export interface MixResult {
  accepted: number;
  faults: number;
  timeline: string[];
  /** Promises that were broken. */
  broken: string[];
  /** Where fabric's logs were kept when a promise was broken. */
  logs?: string;
}

/** What the faults act on. */
export interface Stage {
  fabric: FaultFabric;
  redis: TestRedis;
  redisProxy: TcpProxy;
  s3Proxy: TcpProxy;
  other: ExtraRunner;
}

export async function runMix(options: MixOptions): Promise<MixResult> {
  const opened: { close(): Promise<void> }[] = [];
  try {
    return await play(await openStage(opened), options);
  } finally {
    for (const one of opened.reverse()) await one.close();
  }
}

async function openStage(opened: { close(): Promise<void> }[]): Promise<Stage> {
  const keep = <T extends { close(): Promise<void> }>(one: T): T => {
    opened.push(one);
    return one;
  };
  const redis = keep(await startRedis({ appendonly: true }));
  const s3: TestS3 = keep(await startTestS3());
  const redisProxy = keep(await startTcpProxy(redis.port, { resp: true }));
  const s3Proxy = keep(await startTcpProxy(s3.port));
  const fabric = keep(
    await startFaultFabric({
      env: {
        FABRIC_REDIS_URL: `redis://127.0.0.1:${redisProxy.port}`,
        FABRIC_S3_ENDPOINT: `http://127.0.0.1:${s3Proxy.port}`,
        FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
        FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
      },
      warm: KINDS.map(({ fn }) => fn),
    }),
  );
  return { fabric, redis, redisProxy, s3Proxy, other: keep(await startExtraRunner(fabric, "nod_other")) };
}

/** The last part of a mix is for what faults left to be done. */
const HEAL_MS = 120_000;

async function play(stage: Stage, { seed, seconds, perSecond, onEvent = () => {} }: MixOptions): Promise<MixResult> {
  const random = seeded(seed);
  const timeline: string[] = [];
  const startedAt = performance.now();
  const tell = (text: string): void => {
    const line = `+${((performance.now() - startedAt) / 1000).toFixed(1)} s ${text}`;
    timeline.push(line);
    onEvent(line);
  };
  const loads = MIX_LOADS.map((one) => ({ ...one, load: one.start(stage.fabric, perSecond * one.share) }));
  try {
    const { count, disruptions } = await disturb(stage, random, seconds, tell);
    const accepted = await Promise.all(loads.map(({ load }) => load.stop(HEAL_MS)));
    tell("all is accepted");
    const broken: string[] = [];
    // One after the other: each looks at everything twice.
    for (const { name, load } of loads) {
      broken.push(...(await load.check({ disruptions, deadlineMs: HEAL_MS })));
      tell(`all ${name} have ended`);
    }
    const told = loads.map(({ name }, i) => `${accepted[i]} ${name}`).join(", ");
    tell(`${told} were accepted, ${broken.length} promises broken`);
    const result = { accepted: accepted.reduce((sum, n) => sum + n, 0), faults: count, timeline, broken };
    if (broken.length === 0) return result;
    const logs = join(tmpdir(), `fabric-mix-${seed}-${Date.now()}`);
    await cp(join(stage.fabric.dataDir, "logs"), logs, { recursive: true });
    return { ...result, logs };
  } finally {
    for (const { load } of loads) load.abandon();
  }
}

async function disturb(stage: Stage, random: () => number, seconds: number, tell: (text: string) => void) {
  const faults = mixFaults(stage, random);
  const startedAt = performance.now();
  let count = 0;
  let disruptions = 0;
  let chargedAt = Number.NEGATIVE_INFINITY;
  await passes(500);
  while (performance.now() - startedAt < seconds * 1000) {
    // A call that is hit again before it has recovered would rightly use up its budget.
    const mayCharge = performance.now() - chargedAt > 3 * LEASE_MS;
    const fault = pick(
      faults.filter(({ charges }) => !charges || mayCharge),
      random,
    );
    await strike(fault, random, tell);
    count++;
    if (fault.charges) {
      disruptions++;
      chargedAt = performance.now();
    }
    await passes(200 + random() * 800);
  }
  tell("everything is healed");
  return { count, disruptions };
}

async function strike({ name, act, longestMs }: Fault, random: () => number, tell: (text: string) => void) {
  const ms = Math.round(200 + random() * longestMs);
  tell(`${name} for ${ms} ms`);
  const heal = await act();
  await passes(ms);
  await heal();
}

const pick = <T>(all: T[], random: () => number): T => all[Math.floor(random() * all.length)]!;

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
