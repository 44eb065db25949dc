/** What a generator yields reaches Redis and the bucket whole, once and in order, in bounded memory. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { batchDecoder, type Chunk, ENDED_TAIL_BYTES, TAIL_BYTES } from "../../../core/chunks.ts";
import { newId } from "../../../core/ids.ts";
import { CHUNK_WINDOW } from "../../../core/protocol.ts";
import { gather } from "../../../core/sized-body.ts";
import type { Attempt } from "../../../core/state-store.ts";
import { untilDone } from "../../../core/until-done.ts";
import { createYields } from "../../../runner/yields.ts";
import { startRedis, type TestRedis, until } from "../../support/redis.ts";
import { startTestS3 } from "../../support/s3.ts";
import { connectState } from "../../support/state.ts";

let redis: TestRedis;
let raw: Redis;
let s3: Awaited<ReturnType<typeof startTestS3>>;
let objects: Awaited<ReturnType<(typeof s3)["objects"]>>;
let state: Awaited<ReturnType<typeof connectState>>;
let me: Attempt;

beforeAll(async () => {
  redis = await startRedis();
  raw = new Redis(redis.url);
  s3 = await startTestS3();
  objects = await s3.objects();
  state = await connectState({ url: redis.url, prefix: "t", recordTtlSeconds: 600 });
});
afterAll(async () => {
  raw.disconnect();
  await state.close();
  objects.close();
  await s3.close();
  await redis.close();
});
beforeEach(async () => {
  const call = { id: newId("inv"), app: "a", fn: "f", version: "1", encoding: "json" as const, acceptPickle: false };
  await state.invocations.accept({ ...call, input: Buffer.from("{}"), timeoutMs: 1000, retries: 0 });
  await state.invocations.claim({ id: call.id, generation: 1 }, { runner: "r", node: "n", leaseMs: 60_000 });
  me = { id: call.id, generation: 1 };
});

const COUNT = 200_000;
const json = (value: unknown): Chunk => ({ encoding: "json", body: Buffer.from(JSON.stringify(value)) });

/** Sends as a shim would: within the window, going on as chunks are stored. */
async function send(values: AsyncIterable<Chunk> | Iterable<Chunk>, first = 0) {
  let stored = first - 1;
  const failures: unknown[] = [];
  const yields = createYields(
    {
      ...{ chunks: state.chunks, objects, lasting: (act) => untilDone(act) },
      onStored: (seq) => (stored = seq),
      onFailure: (thrown) => failures.push(thrown),
    },
    me,
    first,
  );
  let seq = first;
  let bytes = 0;
  for await (const chunk of values) {
    bytes += chunk.body.length;
    if (seq - stored > CHUNK_WINDOW || bytes > 1e6) {
      await until(() => stored === seq - 1, 20_000, "what was sent is stored");
      bytes = chunk.body.length;
    }
    yields.accept(seq++, chunk);
  }
  await yields.drained();
  return { yields, stored: () => stored, failures };
}

async function readAll(): Promise<{ values: unknown[]; segments: number }> {
  const values: unknown[] = [];
  let segments = 0;
  for (;;) {
    const seen = await state.chunks.follow(me.id, { generation: 1, next: values.length }, 1e5);
    if (!seen || seen.batches.length === 0) return { values, segments };
    for (const batch of seen.batches) {
      let data = "data" in batch ? batch.data : Buffer.alloc(0);
      if ("key" in batch) {
        const object = (await objects.get(batch.key))!;
        data = await gather(object.body, object.length);
        segments++;
      }
      expect(batch.first).toBe(values.length);
      for (const { body } of batchDecoder()(data)) values.push(JSON.parse(body.toString()));
    }
  }
}

const inRedis = async (): Promise<number> => {
  const sizes = await Promise.all(
    ["tail", "segments"].map((name) => raw.call("MEMORY", "USAGE", `t:inv:${me.id}:${name}`, "SAMPLES", "0")),
  );
  return sizes.reduce<number>((sum, size) => sum + Number(size ?? 0), 0);
};

describe("yields", () => {
  it("keeps a little in Redis alone", async () => {
    const { yields, stored } = await send([1, "two", null].map(json));
    await yields.archive();
    expect(await readAll()).toEqual({ values: [1, "two", null], segments: 0 });
    expect(stored()).toBe(2);
  });

  it("keeps many chunks whole, and neither of Redis' keys grows beyond its bound", async () => {
    let most = 0;
    async function* many() {
      for (let i = 0; i < COUNT; i++) {
        if (i % 10_000 === 0) most = Math.max(most, await inRedis());
        yield json(i);
      }
    }
    const { yields } = await send(many());
    await yields.archive();
    expect(most).toBeLessThan(1.5 * TAIL_BYTES);
    expect(await inRedis()).toBeLessThan(ENDED_TAIL_BYTES + 16_384);
    const { values, segments } = await readAll();
    expect(values).toHaveLength(COUNT);
    expect(values.every((value, i) => value === i)).toBe(true);
    expect(segments).toBeLessThan(20);
  }, 120_000);

  it("moves large chunks to the bucket", async () => {
    const big = (i: number) => json({ i, x: "x".repeat(300_000) });
    await send(Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? json({ i }) : big(i))));
    expect(await inRedis()).toBeLessThan(TAIL_BYTES);
    const { values, segments } = await readAll();
    expect(values.map((value) => (value as { i: number }).i)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(segments).toBeGreaterThan(5);
  });

  it("takes over from a runner that is gone, whose last chunks are sent again", async () => {
    await send(Array.from({ length: 5 }, (_, i) => json(i)));
    await send([3, 4, 5, 6].map(json), 3);
    await send([json({ x: "x".repeat(200_000) })], 7);
    expect((await readAll()).values.slice(0, 7)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    await expect(send([json(9)], 9)).rejects.toMatchObject({
      code: "internal",
      message: expect.stringContaining("chunk 8"),
    });
  });

  it("tells again what is stored when it comes again, and refuses gaps and more than the window", async () => {
    const { yields, stored } = await send([0, 1].map(json));
    yields.accept(0, json(0));
    expect(stored()).toBe(1);
    expect(() => yields.accept(5, json(5))).toThrow("chunk 5 came instead of 2");
    const flood = await send([]);
    expect(() => {
      for (let seq = 0; seq <= CHUNK_WINDOW; seq++) flood.yields.accept(seq, json(seq));
    }).toThrow("more was yielded");
  });

  it("stores nothing more once the attempt is another's", async () => {
    await send([json(0)]);
    await state.invocations.requeue(me, "user", "again");
    const { failures, stored } = await send([json(1)], 1);
    expect(failures).toEqual([]);
    expect((await readAll()).values).toEqual([0]);
    expect(stored()).toBe(0);
  });
});
