/** What an attempt saves, into a real bucket: all of it or nothing, once, and only while it owns its lease. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { listCheckpoints, readManifest } from "../../../core/checkpoint-reader.ts";
import type { ObjectStore } from "../../../core/object-store.ts";
import { type CheckpointDeps, type CheckpointOwner, createCheckpointWriter } from "../../../runner/checkpoint.ts";
import { startTestS3, type TestS3 } from "../../support/s3.ts";

let s3: TestS3;
let objects: ObjectStore;
let scratch: string;
/** Keys in the order they were written. */
let written: string[];
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
  };
});
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ckpt-"));
  await mkdir(join(scratch, "saved", "deep"), { recursive: true });
  await writeFile(join(scratch, "saved", "a.txt"), "alpha");
  await writeFile(join(scratch, "saved", "deep", "empty"), "");
  written = [];
  leaseLost = false;
  series = `series-${++number}`;
});
afterAll(() => s3?.close());

function writer(more: Partial<CheckpointOwner> = {}) {
  const owner = { id: "inv_1", generation: 1, app: "a", fn: "f", version: "1", scratch, ...more };
  const state = {
    holds: { takeSeries: async () => ({ ok: true }) },
    invocations: {
      note: async () => undefined,
      renew: async (_runner: string, attempts: object[]) => ({ lost: leaseLost ? attempts : [], cancel: [] }),
    },
  } as unknown as CheckpointDeps["state"];
  const deps = { state, objects, runner: "run_1", leaseMs: 1_000, log: pino({ level: "silent" }) };
  return createCheckpointWriter(deps, owner, () => true);
}

const saved = (step?: number) => ({
  ...{ op: "report" as const, metrics: { loss: 0.5 }, directory: "saved" },
  ...(step === undefined ? {} : { step }),
});
const keys = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const entry of objects.list(`checkpoints/${series}/`)) if (entry.kind === "object") found.push(entry.key);
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
    expect(written).toEqual([`${folder}/a.txt`, `${folder}/deep/empty`, `${folder}/manifest.json`]);
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
    await expect(one.report({ ...saved(), directory: "../.." }, 1)).rejects.toMatchObject({
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
    expect(await one.report({ op: "report", metrics: {} }, 5)).toEqual({ step: 1 });
    expect(await one.report({ op: "report", metrics: {} }, 5)).toEqual({ step: 1 });
    expect(await listCheckpoints(objects, series)).toHaveLength(1);
  });

  it("after a restart of the runner is one checkpoint of the series that was chosen before", async () => {
    await (await chosen()).report(saved(), 4);
    const adopted = writer({ series });
    expect(await adopted.report(saved(), 4)).toEqual({ step: 0 });
    expect(await adopted.report(saved(), 5)).toEqual({ step: 1 });
    expect((await listCheckpoints(objects, series)).map(({ step }) => step)).toEqual([0, 1]);
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
