/** What an attempt saves, into a real bucket: all of it or nothing, once, and only while it owns its lease. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { listMetricsParts, readMetrics } from "../../../core/checkpoint-metrics.ts";
import { findCheckpoint, listCheckpoints, readManifest } from "../../../core/checkpoint-reader.ts";
import { moveTag } from "../../../core/checkpoint-tag.ts";
import { fail } from "../../../core/errors.ts";
import type { ObjectStore } from "../../../core/object-store.ts";
import { untilDone } from "../../../core/until-done.ts";
import { argumentsOf } from "../../../runner/arguments-of.ts";
import { type CheckpointDeps, type CheckpointOwner, createCheckpointWriter } from "../../../runner/checkpoint.ts";
import { startTestS3, type TestS3 } from "../../support/s3.ts";

let s3: TestS3;
let objects: ObjectStore;
let scratch: string;
/** Keys in the order they were written. */
let written: string[];
let copied: string[];
let leaseLost: boolean;
let number = 0;
let series = "";

beforeAll(async () => {
  s3 = await startTestS3();
  const store = await s3.objects();
  objects = {
    ...store,
    put: async (key, ...rest) => {
      written.push(key);
      return store.put(key, ...rest);
    },
    putStream: async (key, ...rest) => {
      written.push(key);
      return store.putStream(key, ...rest);
    },
    copy: async (from, to, ...rest) => {
      copied.push(to);
      return store.copy(from, to, ...rest);
    },
  };
});
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ckpt-"));
  await mkdir(join(scratch, "saved", "deep"), { recursive: true });
  await writeFile(join(scratch, "saved", "a.txt"), "alpha");
  await writeFile(join(scratch, "saved", "deep", "empty"), "");
  written = [];
  copied = [];
  leaseLost = false;
  series = `series-${++number}`;
});
afterAll(() => s3?.close());

function writer(more: Partial<CheckpointOwner> = {}) {
  const owner = { id: "inv_1", generation: 1, app: "a", fn: "f", version: "1", ...more };
  const state = {
    holds: { takeSeries: async () => ({ ok: true }) },
    invocations: {
      note: async () => undefined,
      renew: async (_runner: string, attempts: object[]) => ({ lost: leaseLost ? attempts : [], cancel: [] }),
    },
  } as unknown as CheckpointDeps["state"];
  const deps = { state, objects, runner: "run_1", leaseMs: 1_000, log: pino({ level: "silent" }), lasting: untilDone };
  return createCheckpointWriter(deps, owner, () => true);
}
const rows = async () => readMetrics(objects, await listMetricsParts(objects, series));

const saved = (step?: number) => ({
  ...{ metrics: { loss: 0.5 }, parts: [{ scratch, directory: "saved" }] },
  ...(step === undefined ? {} : { step }),
});
const keys = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const entry of objects.list(`checkpoints/${series}/0`)) if (entry.kind === "object") found.push(entry.key);
  return found;
};

async function chosen(more: Partial<CheckpointOwner> = {}) {
  const made = writer(more);
  await made.choose(series, true);
  return made;
}

describe("a checkpoint", () => {
  it("is its files as saved, and the manifest last", async () => {
    expect(await (await chosen()).report(saved(), 1)).toEqual({ step: 0 });
    const folder = `checkpoints/${series}/00000000`;
    const files = written.filter((key) => key.startsWith(folder));
    expect(files.pop()).toBe(`${folder}/manifest.json`);
    expect(files.sort()).toEqual([`${folder}/a.txt`, `${folder}/deep/empty`]);
    expect(await readManifest(objects, series, 0)).toMatchObject({
      ...{ series, step: 0, invocation: "inv_1", generation: 1, metrics: { loss: 0.5 } },
      files: [
        { path: "a.txt", size: 5, sha256: "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8" },
        { path: "deep/empty", size: 0 },
      ],
    });
  });

  it("with a link in it is refused and leaves nothing", async () => {
    await symlink("/etc/passwd", join(scratch, "saved", "link"));
    const one = await chosen();
    await expect(one.report(saved(), 1)).rejects.toMatchObject({ code: "checkpoint_invalid" });
    expect(await keys()).toEqual([]);
    await rm(join(scratch, "saved", "link"));
    expect(await one.report(saved(), 2)).toEqual({ step: 0 });
  });

  it("of a folder outside scratch, or with a file called manifest.json, is refused", async () => {
    const one = await chosen();
    await expect(one.report({ ...saved(), parts: [{ scratch, directory: "../.." }] }, 1)).rejects.toMatchObject({
      code: "checkpoint_invalid",
    });
    await writeFile(join(scratch, "saved", "manifest.json"), "{}");
    await expect(one.report(saved(), 2)).rejects.toMatchObject({ code: "checkpoint_invalid" });
    expect(await keys()).toEqual([]);
  });

  it("that is committed already is not written again", async () => {
    const one = await chosen();
    await one.report(saved(7), 1);
    await expect(one.report(saved(7), 2)).rejects.toMatchObject({ code: "checkpoint_exists" });
    expect(await one.report(saved(), 3)).toEqual({ step: 8 });
  });

  it("of which another writer commits the manifest first stays the other's", async () => {
    const one = await chosen();
    const key = `checkpoints/${series}/00000000/manifest.json`;
    const put = objects.put;
    objects.put = async (wanted, ...rest) => {
      if (wanted === key) await put(key, JSON.stringify({ step: 0, invocation: "inv_other" }));
      return put(wanted, ...rest);
    };
    await expect(one.report(saved(), 1).finally(() => (objects.put = put))).rejects.toMatchObject({
      code: "checkpoint_exists",
    });
    expect(await readManifest(objects, series, 0)).toMatchObject({ invocation: "inv_other" });
  });

  it("is saved through an outage, of which neither what was sent before nor the manifest is written twice", async () => {
    const one = await chosen();
    const { put, putStream } = objects;
    const failing = new Set(["deep/empty", "manifest.json"]);
    // The store has what it was sent, and its answer is lost.
    objects.put = async (key, ...rest) => {
      const done = await put(key, ...rest);
      if ([...failing].some((name) => key.endsWith(name) && failing.delete(name))) fail("storage_unavailable", "away");
      return done;
    };
    expect(await one.report(saved(), 1).finally(() => Object.assign(objects, { put, putStream }))).toEqual({ step: 0 });
    const folder = `checkpoints/${series}/00000000`;
    expect(written.filter((key) => key.startsWith(folder)).sort()).toEqual([
      ...["a.txt", "deep/empty", "deep/empty", "manifest.json"].map((name) => `${folder}/${name}`),
    ]);
    expect(await listCheckpoints(objects, series)).toMatchObject([{ request: 1, files: [{ size: 5 }, { size: 0 }] }]);
  });

  it("is never committed once the lease is another's", async () => {
    const one = await chosen();
    leaseLost = true;
    await expect(one.report(saved(), 1)).rejects.toMatchObject({ code: "node_lost" });
    expect(await listCheckpoints(objects, series)).toEqual([]);
  });
});

describe("a new attempt", () => {
  it("removes what an earlier one left uncommitted, keeps what is committed, and goes on from there", async () => {
    await (await chosen()).report(saved(), 1);
    await objects.put(`checkpoints/${series}/00000001/half`, "x");
    const next = await chosen({ generation: 2 });
    expect((await keys()).filter((key) => key.includes("00000001"))).toEqual([]);
    expect(await next.report(saved(), 1)).toEqual({ step: 1 });
    expect((await listCheckpoints(objects, series)).map(({ generation }) => generation)).toEqual([1, 2]);
  });
});

describe("a request that is repeated", () => {
  it("after a lost connection is one checkpoint", async () => {
    const one = await chosen();
    expect(await one.report(saved(), 4)).toEqual({ step: 0 });
    expect(await one.report(saved(), 4)).toEqual({ step: 0 });
    expect(await one.report({ metrics: {}, parts: [] }, 5)).toEqual({ step: 1 });
    expect(await one.report({ metrics: {}, parts: [] }, 5)).toEqual({ step: 1 });
    expect(await listCheckpoints(objects, series)).toHaveLength(1);
  });

  it("after a restart of the runner is one checkpoint of the series that was chosen before", async () => {
    await (await chosen()).report(saved(), 4);
    const adopted = writer({ series });
    expect(await adopted.report(saved(), 4)).toEqual({ step: 0 });
    expect(await adopted.report(saved(), 5)).toEqual({ step: 1 });
    expect((await listCheckpoints(objects, series)).map(({ step }) => step)).toEqual([0, 1]);
    await objects.deletePrefix(`checkpoints/${series}/metrics/`);
    await writer({ series }).report(saved(), 6);
    expect((await rows()).map(({ step }) => step)).toEqual([1, 2]);
  });

  it("with a step of its own is one checkpoint, too", async () => {
    await (await chosen()).report(saved(20), 4);
    await (await chosen()).report(saved(10), 5);
    expect(await writer({ series }).report(saved(10), 5)).toEqual({ step: 10 });
  });

  it("by another attempt is another request", async () => {
    await (await chosen()).report(saved(0), 4);
    const other = await chosen({ generation: 2 });
    await expect(other.report(saved(0), 4)).rejects.toMatchObject({ code: "checkpoint_exists" });
  });
});

describe("files that did not change", () => {
  it("are copied inside the bucket, others are sent", async () => {
    await writeFile(join(scratch, "saved", "frozen.bin"), Buffer.alloc(300_000, 1));
    const one = await chosen();
    await one.report(saved(), 1);
    await writeFile(join(scratch, "saved", "a.txt"), "omega");
    await one.report(saved(), 2);
    expect(copied).toEqual([`checkpoints/${series}/00000001/frozen.bin`]);
    const manifest = (await readManifest(objects, series, 1))!;
    expect(manifest.files.map(({ path }) => path)).toEqual(["a.txt", "deep/empty", "frozen.bin"]);
    for (const { path, sha256 } of manifest.files) {
      const { body } = (await objects.get(`checkpoints/${series}/00000001/${path}`))!;
      const hash = createHash("sha256");
      for await (const chunk of body) hash.update(chunk);
      expect(hash.digest("hex")).toBe(sha256);
    }
  });

  it("are found again by a new attempt, and sent when the checkpoint before is gone", async () => {
    await (await chosen()).report(saved(), 1);
    const next = await chosen({ generation: 2 });
    await objects.deletePrefix(`checkpoints/${series}/00000000/`);
    await next.report(saved(), 1);
    expect(copied).toEqual([`checkpoints/${series}/00000001/a.txt`]);
    expect(await keys()).toContain(`checkpoints/${series}/00000001/a.txt`);
    await (await chosen({ generation: 3 })).report(saved(), 1);
    expect(copied).toHaveLength(2);
  });
});

describe("a save behind the function", () => {
  it("has its step at once, lets reports pass, and comes before the next save", async () => {
    const one = await chosen();
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const putStream = objects.putStream;
    objects.putStream = async (...put) => held.then(() => putStream(...put));
    try {
      const behind = await one.begin(saved(), 1);
      expect(await one.report({ parts: [], metrics: { loss: 2 } }, 2)).toEqual({ step: 1 });
      const again = await one.begin(saved(), 1);
      const next = one.report(saved(), 3);
      expect(await listCheckpoints(objects, series)).toEqual([]);
      release();
      expect(await behind.stored).toEqual({ step: 0 });
      expect(await again.stored).toEqual({ step: 0 });
      expect(await next).toEqual({ step: 2 });
    } finally {
      objects.putStream = putStream;
    }
    expect((await listCheckpoints(objects, series)).map(({ step }) => step)).toEqual([0, 2]);
    expect((await rows()).map(({ step, checkpoint }) => [step, checkpoint])).toEqual([
      ...[
        [1, false],
        [0, true],
        [2, true],
      ],
    ]);
  });

  it("that fails tells why, and the next save goes on", async () => {
    const one = await chosen();
    const link = join(scratch, "saved", "link");
    await symlink("/etc/passwd", link);
    const behind = await one.begin(saved(), 1);
    await expect(behind.stored).rejects.toMatchObject({ code: "checkpoint_invalid" });
    await rm(link);
    expect(await one.report(saved(), 2)).toEqual({ step: 0 });
  });
});

describe("a keep rule", () => {
  const keep = { num_to_keep: 2, attribute: "loss", order: "min" } as const;
  const steps = async () => (await listCheckpoints(objects, series)).map(({ step }) => step);

  it("leaves the best, the latest and the tagged ones, each whole", async () => {
    const one = await chosen();
    const losses = [0.5, 0.1, 0.9, 0.2, 0.8];
    for (const [i, loss] of losses.entries()) {
      await one.report({ ...saved(), metrics: { loss }, keep }, i + 1);
      if (i === 2) await moveTag(objects, { series, name: "worst", step: 2 });
    }
    expect(await steps()).toEqual([1, 2, 3, 4]);
    expect((await keys()).filter((key) => /\/00000000\//.test(key))).toEqual([]);
    expect(await one.report(saved(), 9)).toEqual({ step: 5 });
    await (await chosen({ generation: 2 })).report({ ...saved(), metrics: { loss: 0.05 }, keep }, 1);
    expect(await steps()).toEqual([1, 2, 6]);
    expect((await findCheckpoint(objects, series, "best"))?.step).toBe(6);
  });

  it("leaves the latest one of an invocation that started over", async () => {
    const one = writer();
    await one.choose(series, false);
    await one.report({ ...saved(5), metrics: { loss: 9 }, keep }, 1);
    for (const step of [3, 4]) await one.report({ ...saved(step), metrics: { loss: step }, keep }, step);
    expect(await steps()).toEqual([3, 4, 5]);
  });
});

describe("ranks that choose a series at the same time", () => {
  it("take it once, and it has one history", async () => {
    const one = writer();
    const asked = await Promise.all([one.choose(series, true), one.choose(series, true), one.choose(series, true)]);
    expect(asked).toEqual(Array(3).fill({ series, next_step: 0 }));
    await Promise.all([1, 2].map((request) => one.report({ parts: [], metrics: { request } }, request)));
    expect((await rows()).map(({ step }) => step)).toEqual([0, 1]);
    expect(await listMetricsParts(objects, series)).toHaveLength(1);
  });
});

describe("rows of metrics", () => {
  it("are kept with and without a checkpoint, once for each request, and numbered on after a restart of the runner", async () => {
    const one = await chosen();
    await one.report({ parts: [], metrics: { loss: 3 } }, 1);
    await one.report(saved(), 2);
    const adopted = writer({ series });
    expect(await adopted.report({ parts: [], metrics: { loss: 3 } }, 1)).toEqual({ step: 0 });
    expect(await adopted.report({ parts: [], metrics: { loss: 1 } }, 3)).toEqual({ step: 2 });
    expect(await rows()).toMatchObject([
      { step: 0, metrics: { loss: 3 }, checkpoint: false, invocation: "inv_1", generation: 1 },
      { step: 1, metrics: { loss: 0.5 }, checkpoint: true },
      { step: 2, metrics: { loss: 1 }, checkpoint: false },
    ]);
  });

  it("of a late attempt do not touch those of the next", async () => {
    const late = await chosen();
    await late.report({ parts: [], metrics: { a: 1 } }, 1);
    const next = await chosen({ generation: 2 });
    await next.report({ parts: [], metrics: { a: 2 } }, 1);
    await late.report({ parts: [], metrics: { a: 3 } }, 2);
    expect((await rows()).map(({ metrics }) => metrics.a)).toEqual([1, 3, 2]);
  });

  it("that the bucket did not take come with the next one, or at the end", async () => {
    const one = await chosen();
    const put = objects.put;
    objects.put = async () => fail("storage_unavailable", "away");
    await one.report({ parts: [], metrics: { a: 1 } }, 1).finally(() => (objects.put = put));
    expect(await rows()).toEqual([]);
    await one.report({ parts: [], metrics: { a: 2 } }, 2);
    objects.put = async () => fail("storage_unavailable", "away");
    await one.report({ parts: [], metrics: { a: 3 } }, 3).finally(() => (objects.put = put));
    await one.close();
    expect((await rows()).map(({ metrics }) => metrics.a)).toEqual([1, 2, 3]);
  });

  it("of a long series are few parts", async () => {
    const one = await chosen();
    const metrics = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`metric-${i}`, i]));
    for (let i = 0; i < 150; i++) await one.report({ parts: [], metrics }, i);
    const parts = await listMetricsParts(objects, series);
    expect(parts.map(({ number }) => number)).toEqual([0, 1, 2].slice(0, parts.length));
    expect(parts.length).toBeGreaterThan(1);
    expect((await rows()).map(({ step }) => step)).toEqual(Array.from({ length: 150 }, (_, i) => i));
  });
});

describe("where a checkpoint comes from", () => {
  it("is in its manifest: arguments, and what was loaded before", async () => {
    const args = async () => ({ sha256: "x", bytes: 2, encoding: "json" as const, json: [[], { epochs: 3 }] });
    const one = await chosen({ args });
    await one.report(saved(), 1);
    one.loaded({ series: "base", step: 7 });
    one.loaded({ series: "base", step: 7 });
    await one.report(saved(), 2);
    const [first, second] = await listCheckpoints(objects, series);
    expect(first).toMatchObject({ arguments: { json: [[], { epochs: 3 }] }, invocation: "inv_1", fn: "f" });
    expect(first).not.toHaveProperty("parents");
    expect(second!.parents).toEqual([{ series: "base", step: 7 }]);
    await writer({ series }).report(saved(), 3);
    expect((await readManifest(objects, series, 2))!.parents).toEqual([{ series: "base", step: 7 }]);
  });
});

describe("arguments", () => {
  const of = (input: string, encoding: "json" | "pickle" = "json") =>
    argumentsOf(objects, { id: "inv_1", encoding, input: Buffer.from(input) });

  it("are told as they are when they are small JSON, else by their digest", async () => {
    expect(await of('{"args":[1]}')).toMatchObject({ bytes: 12, encoding: "json", json: { args: [1] } });
    expect((await of('{"args":[NaN]}'))?.json).toBeUndefined();
    expect(await of("x", "pickle")).not.toHaveProperty("json");
    expect(await of(JSON.stringify(["x".repeat(5_000)]))).not.toHaveProperty("json");
    await objects.put("invocations/inv_2/input", "large");
    expect(await argumentsOf(objects, { id: "inv_2", encoding: "json" })).toEqual({
      ...{ sha256: createHash("sha256").update("large").digest("hex"), bytes: 5, encoding: "json" },
    });
    expect(await argumentsOf(objects, { id: "inv_3", encoding: "json" })).toBeUndefined();
  });

  it("that cannot be read now are waited for", async () => {
    let tries = 0;
    const args = async () =>
      tries++ === 0 ? fail("storage_unavailable", "away") : { bytes: 1, encoding: "json" as const };
    expect(await (await chosen({ args })).report(saved(), 1)).toEqual({ step: 0 });
    expect(await readManifest(objects, series, 0)).toMatchObject({ arguments: { bytes: 1 } });
  });
});
