/** Reports of ranks: stored as one when all have come, failed for all when one cannot. */
import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { listMetricsParts, readMetrics } from "../../../core/checkpoint-metrics.ts";
import { listCheckpoints, readManifest } from "../../../core/checkpoint-reader.ts";
import type { ObjectStore } from "../../../core/object-store.ts";
import { untilDone } from "../../../core/until-done.ts";
import { type CheckpointDeps, createCheckpointWriter } from "../../../runner/checkpoint.ts";
import { createGangReports } from "../../../runner/gang-reports.ts";
import { startTestS3, type TestS3 } from "../../support/s3.ts";

let s3: TestS3;
let objects: ObjectStore;
let folders: string[];
let number = 0;
let series = "";
beforeAll(async () => {
  s3 = await startTestS3();
  objects = await s3.objects();
});
afterAll(() => s3?.close());
beforeEach(async () => {
  series = `gang-${++number}`;
  folders = [];
  for (const rank of [0, 1, 2]) {
    const scratch = await mkdtemp(join(tmpdir(), "rank-"));
    folders.push(scratch);
    await mkdir(join(scratch, "saved"));
    await writeFile(join(scratch, "saved", `shard-${rank}`), `weights of ${rank}`);
    await writeFile(join(scratch, "saved", "config"), "same");
  }
});

async function reports() {
  const owner = { id: "inv_1", generation: 1, app: "a", fn: "f", version: "1" };
  const state = {
    holds: { takeSeries: async () => ({ ok: true }) },
    invocations: { note: async () => undefined, renew: async () => ({ lost: [], cancel: [] }) },
  } as unknown as CheckpointDeps["state"];
  const writer = createCheckpointWriter(
    { state, objects, runner: "run_1", leaseMs: 1_000, log: pino({ level: "silent" }), lasting: untilDone },
    owner,
    () => true,
  );
  await writer.choose(series, true);
  const made = createGangReports(writer, 3);
  return {
    ...made,
    writer,
    report: (rank: number, request: number, more: { directory?: string; step?: number; per_rank?: boolean } = {}) =>
      made.report(rank, { op: "report", metrics: { rank }, ...more }, request, { scratch: folders[rank]! }),
  };
}
const saved = { directory: "saved" };

describe("reports of ranks", () => {
  it("are one checkpoint: rank 0's metrics, the union of the files", async () => {
    const { report } = await reports();
    const all = await Promise.all([report(2, 1, saved), report(0, 1, saved), report(1, 1, saved)]);
    expect(all).toEqual([{ step: 0 }, { step: 0 }, { step: 0 }]);
    const manifest = await readManifest(objects, series, 0);
    expect(manifest).toMatchObject({ metrics: { rank: 0 }, generation: 1 });
    expect(manifest!.files.map(({ path }) => path).sort()).toEqual(["config", "shard-0", "shard-1", "shard-2"]);
  });

  it("have rows of metrics by rank where that is asked for", async () => {
    const { report, writer } = await reports();
    await Promise.all([0, 1, 2].map((rank) => report(rank, 1)));
    await Promise.all([0, 1, 2].map((rank) => report(rank, 2, { per_rank: true })));
    await writer.close();
    const parts = await listMetricsParts(objects, series);
    const rowsOf = (ofRanks: boolean) =>
      readMetrics(
        objects,
        parts.filter((part) => part.ofRanks === ofRanks),
      );
    expect((await rowsOf(false)).map(({ step, metrics }) => [step, metrics.rank])).toEqual(
      [0, 1].map((step) => [step, 0]),
    );
    expect(await rowsOf(true)).toMatchObject(
      [1, 2].map((rank) => ({ step: 1, rank, metrics: { rank }, checkpoint: false })),
    );
  });

  it("are stored only once all have come, and may come without files", async () => {
    const { report } = await reports();
    let stored = 0;
    const first = [report(0, 1, saved), report(1, 1)].map((one) => one.then(() => stored++));
    expect(await listCheckpoints(objects, series)).toEqual([]);
    expect(stored).toBe(0);
    await Promise.all([...first, report(2, 1)]);
    expect((await readManifest(objects, series, 0))!.files.map(({ path }) => path)).toEqual(["config", "shard-0"]);
    expect(await Promise.all([report(0, 2), report(1, 2), report(2, 2)])).toEqual(Array(3).fill({ step: 1 }));
    expect(await listCheckpoints(objects, series)).toHaveLength(1);
  });

  it("with different files of one path keep the lowest rank's, and say so", async () => {
    const { report } = await reports();
    await writeFile(join(folders[2]!, "saved", "config"), "other");
    const [answer] = await Promise.all([report(0, 1), report(1, 1, saved), report(2, 1, saved)]);
    expect(answer).toEqual({ step: 0, warnings: ["config of rank 2 differs from rank 1's, which was saved"] });
  });

  it("fail for all, by name, when one rank's files cannot be saved, and leave nothing; the next ones succeed", async () => {
    const { report } = await reports();
    await symlink("/etc/passwd", join(folders[1]!, "saved", "link"));
    const all = await Promise.allSettled([0, 1, 2].map((rank) => report(rank, 1, saved)));
    for (const one of all)
      expect(one).toMatchObject({ reason: { code: "checkpoint_invalid", message: /^rank 1: /, details: { rank: 1 } } });
    for await (const entry of objects.list(`checkpoints/${series}/`)) expect(entry).toBeUndefined();
    expect(await Promise.all([report(0, 2, saved), report(1, 2), report(2, 2)])).toEqual(Array(3).fill({ step: 0 }));
  });

  it("fail at once when a rank has returned, or does, without its own", async () => {
    const { report, returned } = await reports();
    await Promise.all([report(0, 1), report(1, 1), report(2, 1)]);
    const waiting = report(0, 2);
    returned(1);
    const missing = {
      code: "report_missing",
      message: "rank 1 returned after 1 reports, and others wait with report 2: every rank has to report equally often",
    };
    await expect(waiting).rejects.toMatchObject(missing);
    await expect(report(2, 2)).rejects.toMatchObject(missing);
  });

  it("asked again after a lost connection are the same", async () => {
    const { report } = await reports();
    const [one, again] = [report(0, 1, saved), report(0, 1, saved)];
    await Promise.all([report(1, 1), report(2, 1)]);
    expect(await Promise.all([one, again, report(0, 1, saved)])).toEqual(Array(3).fill({ step: 0 }));
  });

  it("that are saved behind the function are told apart when they are asked again", async () => {
    const { report } = await reports();
    const first = [0, 1, 2].map((rank) => report(rank, 1, saved));
    const second = [0, 1, 2].map((rank) => report(rank, 2));
    expect(await Promise.all([report(0, 1, saved), report(0, 2), ...first, ...second])).toEqual(
      [0, 1, 0, 0, 0, 1, 1, 1].map((step) => ({ step })),
    );
  });

  it("of different steps are refused", async () => {
    const { report } = await reports();
    const all = await Promise.allSettled([
      report(0, 1, { step: 5 }),
      report(1, 1, { step: 6 }),
      report(2, 1, { step: 5 }),
    ]);
    for (const one of all) expect(one).toMatchObject({ reason: { code: "bad_request", details: { rank: 1 } } });
  });
});
