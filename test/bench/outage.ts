/** Outages at full length, under load and with leases as they are by default: what was refused, how soon calls work again, what was broken. */
import { parseArgs } from "node:util";
import { type FaultFabric, KINDS, passes, startFaultFabric } from "../support/fault-fabric.ts";
import { check, type Kind } from "../support/load.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { startTestS3, TEST_CREDENTIALS } from "../support/s3.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

interface Stage {
  redis: TestRedis;
  s3: TcpProxy;
  seconds: number;
}

interface Outage {
  seconds: number;
  kinds?: Kind[];
  /** Calls a second; what `--rate` says when absent. */
  perSecond?: number;
  act(stage: Stage): Promise<void>;
}

/** `narrow` in test/apps/faults.py: two slots, a tenth of a second each. */
const NARROW_PER_SECOND = 20;
const BEFORE_AND_AFTER_MS = 3_000;

const killed = async ({ redis, seconds }: Stage): Promise<void> => {
  await redis.kill();
  await passes(seconds * 1000);
  await redis.start();
};

const OUTAGES: Record<string, Outage> = {
  "Redis killed": { seconds: 2, act: killed },
  "Redis killed for three leases": { seconds: 45, act: killed },
  "Redis hung": {
    seconds: 25,
    async act({ redis, seconds }) {
      redis.signal("SIGSTOP");
      await passes(seconds * 1000);
      redis.signal("SIGCONT");
    },
  },
  "S3 refuses connections": {
    seconds: 30,
    async act({ s3, seconds }) {
      s3.drop();
      await passes(seconds * 1000);
      s3.heal();
    },
  },
  "ten times the capacity": {
    seconds: 60,
    kinds: [{ fn: "narrow", share: 1 }],
    perSecond: 10 * NARROW_PER_SECOND,
    act: ({ seconds }) => passes(seconds * 1000),
  },
};

export async function outageBench(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { rate: { type: "string", default: "100" }, only: { type: "string", default: "" } },
  });
  const redis = await startRedis({ appendonly: true });
  const store = await startTestS3();
  const s3 = await startTcpProxy(store.port);
  const fabric = await startFaultFabric({
    env: {
      FABRIC_LEASE_MS: undefined,
      FABRIC_REDIS_URL: redis.url,
      FABRIC_S3_ENDPOINT: `http://127.0.0.1:${s3.port}`,
      FABRIC_S3_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
      FABRIC_S3_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
    },
    warm: ["fast", "brief", "shaky", "wrong", "large", "narrow"],
  });
  try {
    console.log("| outage | s | calls/s | accepted | refused | works again after | all ended after |");
    console.log("|---|---|---|---|---|---|---|");
    for (const [name, outage] of Object.entries(OUTAGES)) {
      if (!name.includes(values.only)) continue;
      const { seconds, perSecond = Number(values.rate), kinds = KINDS } = outage;
      await row(fabric, name, { ...outage, perSecond, kinds }, { redis, s3, seconds });
    }
  } finally {
    await fabric.close();
    await s3.close();
    await store.close();
    await redis.close();
  }
}

async function row(fabric: FaultFabric, name: string, outage: Required<Outage>, stage: Stage): Promise<void> {
  const load = fabric.load(outage.perSecond, outage.kinds);
  await passes(BEFORE_AND_AFTER_MS);
  await outage.act(stage);
  const since = performance.now();
  const elapsed = (): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;
  await fabric.works();
  const works = elapsed();
  await passes(BEFORE_AND_AFTER_MS);
  const accepted = await load.stop(120_000);
  const broken = await check(fabric, accepted, fabric.journal!, { disruptions: 0, deadlineMs: 1_800_000 });
  const refused = [...load.refusals].map(([reason, times]) => `${times} x ${reason}`).join(", ") || "none";
  console.log(
    `| ${name} | ${outage.seconds} | ${outage.perSecond} | ${accepted.length} | ${refused} | ${works} | ${elapsed()} |`,
  );
  for (const line of broken) console.log(line);
  if (broken.length > 0) process.exitCode = 1;
}
