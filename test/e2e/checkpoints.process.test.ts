/** Checkpoints on a whole fabric, as users of Python, HTTP and the command line meet them: kept, promoted, served, drawn. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { s3ObjectStore } from "../../core/object-store-s3.ts";
import { run, startFabric, type TestFabric } from "../support/fabric.ts";

const SDK = fileURLToPath(new URL("../../sdk/python/src", import.meta.url));
let fabric: TestFabric;
beforeAll(async () => {
  fabric = await startFabric({ engine: "process", app: "ckpts" });
  await fabric.json("deploy", "test/apps/checkpoints.py");
});
afterAll(() => fabric?.close());

const get = async (path: string): Promise<any> => (await fabric.fetch(`/v1/checkpoints/${path}`)).json();
const steps = async (series: string): Promise<number[]> => (await get(series)).checkpoints.map(({ step }: any) => step);

async function python(code: string): Promise<any> {
  const text = `import json\nimport fabric_sdk as fabric\nf = lambda name: fabric.Function.from_name("ckpts", name)\n${code}`;
  const { code: exit, stdout, stderr } = await run("python3", ["-c", text], { ...fabric.env, PYTHONPATH: SDK });
  if (exit !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

test.concurrent("a training keeps its best and its latest, says where they come from, and is drawn", async () => {
  const { body } = await fabric.call("train", { series: "kept", keep: 2 });
  expect(body).toEqual([1, 3, 5, 7, 9]);
  expect(await steps("kept")).toEqual([3, 7, 9]);
  expect(await get("kept/best")).toMatchObject({
    ...{ step: 3, metrics: { loss: 0.1 }, app: "ckpts", fn: "train", version: "1", generation: 1 },
    arguments: { encoding: "json", json: { kwargs: { series: "kept", keep: 2 } } },
  });
  const rows = (await (await fabric.fetch("/v1/checkpoints/kept/metrics")).text()).trim().split("\n");
  expect(rows.map((row) => JSON.parse(row).step)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const shown = await fabric.cli("checkpoint", "show", "kept:best", "--plot");
  expect(shown.stdout).toMatch(
    /function +ckpts\/train[\s\S]*\nloss\n[\s\S]*┤[\s\S]*\nbatch_loss\n|batch_loss\n[\s\S]*\nloss\n/,
  );
  const picture = join(fabric.dataDir, "kept.png");
  expect((await fabric.cli("checkpoint", "show", "kept", "--plot", picture)).code).toBe(0);
  expect((await readFile(picture)).subarray(1, 4).toString()).toBe("PNG");
  expect((await fabric.cli("checkpoint", "show", "--plot", "kept:best", "kept")).stderr).toContain(
    "must be the name of a .png",
  );
  await fabric.call("train", { series: "kept", keep: 2 });
  expect((await get("kept/latest")).parents).toEqual([{ series: "kept", step: 9 }]);
});

test.concurrent("a promoted checkpoint is served by its tag, outlives the keep rule, and travels as an argument", async () => {
  await fabric.call("train", { series: "live" });
  expect(await steps("live")).toEqual([1, 3, 5, 7, 9]);
  const tag = { method: "PUT", body: JSON.stringify({ step: 5 }), headers: { "content-type": "application/json" } };
  expect((await fabric.fetch("/v1/checkpoints/live/tags/production", tag)).status).toBe(200);
  expect((await fabric.call("serve", { reference: "live:production" })).body).toEqual([5, "2", 2]);
  const served = (await fabric.call("warm", { reference: "live:production" })).body;
  expect(served.slice(0, 2)).toEqual([5, "2"]);
  expect((await fabric.call("warm", { reference: "live:production" })).body).toEqual(served);
  const moved = { ...tag, body: JSON.stringify({ step: 7 }) };
  expect((await fabric.fetch("/v1/checkpoints/live/tags/production", moved)).status).toBe(200);
  expect((await fabric.call("warm", { reference: "live:production" })).body.slice(0, 2)).toEqual([7, "3"]);
  expect((await fabric.fetch("/v1/checkpoints/live/tags/production", tag)).status).toBe(200);
  await fabric.call("train", { series: "live", keep: 1 });
  expect(await steps("live")).toContain(5);
  expect((await steps("live")).length).toBeLessThanOrEqual(3);
  expect((await fabric.fetch("/v1/checkpoints/live/5", { method: "DELETE" })).status).toBe(409);
  const code = `c = fabric.Checkpoint.load("live:production")\nprint(json.dumps([c.step, f("given").remote(c), open(c.path + "/epoch.txt").read()]))`;
  const files = [".metadata.json", "epoch.txt", "frozen.bin", "weights.bin"];
  expect(await python(code)).toEqual([5, ["live", 5, files], "2"]);
  const dir = await mkdtemp(join(tmpdir(), "fabric-pull-"));
  expect((await fabric.cli("checkpoint", "pull", "live:production", join(dir, "out"))).code).toBe(0);
  expect(await readFile(join(dir, "out", "epoch.txt"), "utf8")).toBe("2");
  await rm(dir, { recursive: true });
});

test.concurrent("saves that run behind a training are stored when it ends, well or not, and a retry goes on from them", async () => {
  const well = await fabric.call("behind", { series: "well", megabytes: 4 });
  expect(well.body).toHaveLength(3);
  expect(await steps("well")).toEqual([0, 1, 2]);
  const given = await fabric.call("behind", { series: "given", megabytes: 4, give: true });
  expect(given.body).toHaveLength(3);
  expect((await get("given")).checkpoints.map(({ metrics }: any) => metrics.epoch)).toEqual([0, 1, 2]);
  const again = await fabric.call("behind", { series: "broke", fail: true });
  expect(again.body).toHaveLength(1);
  expect(await steps("broke")).toEqual([0, 1, 2]);
  expect((await get("broke")).checkpoints.map(({ generation }: any) => generation)).toEqual([1, 1, 2]);
});

test.concurrent("datasets come from the bucket, split by rank, and nothing else of it does", async () => {
  const { AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, FABRIC_BUCKET } = fabric.env;
  const keys = { accessKeyId: AWS_ACCESS_KEY_ID!, secretAccessKey: AWS_SECRET_ACCESS_KEY! };
  const where = { endpoint: AWS_ENDPOINT_URL!, region: AWS_REGION!, bucket: FABRIC_BUCKET! };
  const objects = s3ObjectStore({ ...where, ...keys });
  await objects.put("datasets/numbers/a.csv", "x\n0\n1\n2\n");
  await objects.put("datasets/numbers/deep/b.jsonl", '{"x":3}\n{"x":4}\n');
  objects.close();
  const read = async (source: string) => (await fabric.call("reads", { source })).body;
  expect(await read(`s3://${FABRIC_BUCKET}/datasets/numbers`)).toEqual([0, 2]);
  expect(await read("fabric://datasets/numbers/*.jsonl")).toEqual([3]);
  for (const source of [
    "s3://elsewhere/datasets/a.csv",
    "fabric://apps/ckpts/current.json",
    "fabric://datasets/no.csv",
  ])
    expect(JSON.stringify(await read(source))).toContain(source);
});
