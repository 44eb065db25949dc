/** Images go when no version needs them and nobody has for a while: environments on a node, and what lies in the bucket. */
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { manualClock } from "../../core/clock.ts";
import { collectImages } from "../../core/collect-images.ts";
import { imageIndexKey, layerKey } from "../../core/image-index.ts";
import { processImages } from "../../core/process-images.ts";
import type { Deployment } from "../../core/spec.ts";
import { collectStoredImages } from "../../gateway/collect-stored-images.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const HOUR = 3_600_000;
let gateway: TestGateway;
let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "fabric-images-"));
  gateway = await startGateway();
});
afterAll(async () => {
  await gateway.close();
  await rm(dataDir, { recursive: true, force: true });
});

const deployment = (app: string, source: string): Deployment => ({
  ...{ app, source: source.repeat(64), functions: [] },
  images: { main: { python: "3.11", layers: [] } },
});
/** A version for each of these images, in this order. */
async function publish(app: string, ...refs: string[]): Promise<void> {
  for (const [at, ref] of refs.entries())
    await gateway.deps.registry.publish(deployment(app, String(at)), { main: ref });
}

it("keeps the environments of all versions, and those needed lately, until their app is deleted", async () => {
  const { state, registry } = gateway.deps;
  const names = ["a", "b", "c", "d"].map((letter) => letter.repeat(32));
  const [first, second, unused, lately] = names.map((name) => join(dataDir, "images", name)) as [string, ...string[]];
  for (const name of names) await mkdir(join(dataDir, "images", name, "lib"), { recursive: true });
  await publish("envs", first, second!);
  const collect = (keepMs: number): Promise<string[]> =>
    collectImages({ state, registry, shelf: processImages(dataDir) }, keepMs);

  expect(await collect(HOUR)).toEqual([]);
  await state.images.need([lately!]);
  const ages = await state.images.unneededMs([unused!, lately!]);
  expect(ages[0]).toBeGreaterThanOrEqual(ages[1]!);
  expect((await collect(0)).sort()).toEqual([unused, lately]);
  expect((await readdir(join(dataDir, "images"))).sort()).toEqual(names.slice(0, 2));

  await registry.remove("envs");
  expect(await collect(HOUR)).toEqual([]);
  expect((await collect(0)).sort()).toEqual([first, second]);
  expect(await readdir(join(dataDir, "images"))).toEqual([]);
});

it("removes from the bucket images no version needs, and layers no image has once they are a day old", async () => {
  const { state, registry, objects } = gateway.deps;
  const [needed, gone] = ["1", "2"].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];
  const [shared, own, orphan] = ["3", "4", "5"].map((digit) => digit.repeat(64)) as [string, string, string];
  const store = async (ref: string, ...layers: string[]): Promise<void> => {
    const members = layers.map((layer) => ({ name: layer, type: "file", mode: 0o644, size: 1, layer, storedBytes: 1 }));
    for (const layer of layers) await objects.put(layerKey(layer), "x");
    await objects.put(imageIndexKey(ref), JSON.stringify({ image: ref, members }));
  };
  await store(needed, shared);
  await store(gone, shared, own);
  await objects.put(layerKey(orphan), "x");
  await publish("stored", needed);
  const collect = (now: number, keepMs: number): Promise<string[]> =>
    collectStoredImages({ state, registry, objects, clock: manualClock(now) }, keepMs);

  expect(await collect(Date.now(), HOUR)).toEqual([]);
  expect(await collect(Date.now(), 0)).toEqual([imageIndexKey(gone)]);
  expect(await collect(Date.now() + 25 * HOUR, 0)).toEqual([layerKey(own), layerKey(orphan)]);
  expect(await collect(Date.now() + 25 * HOUR, 0)).toEqual([]);
});

it("lists a node's images with what needs them, and prunes the others when asked, once said", async () => {
  const { tempDir, clock } = gateway.deps;
  const [used, unused] = ["e", "f"].map((letter) => join(tempDir, "images", letter.repeat(32))) as [string, string];
  for (const folder of [used, unused]) await mkdir(folder, { recursive: true });
  await publish("listed", used);
  const images = async () => ((await (await gateway.request("/v1/images")).json()) as any).images;
  const unneededSince = expect.stringMatching(/^2.*Z$/);
  expect(await images()).toEqual([
    { image: used, neededBy: ["listed@1"] },
    { image: unused, neededBy: [], unneededSince },
  ]);
  const prune = async (body: object) =>
    (await gateway.request("/v1/images/prune", { method: "POST", body: JSON.stringify(body) })).json();
  expect(await prune({})).toEqual({ images: [], stored: [] });
  const redis = new Redis(gateway.redisUrl);
  await redis.zadd("t:images", clock.now() - 2 * HOUR, used, clock.now() - 2 * HOUR, unused);
  await redis.quit();
  expect(await prune({ dryRun: true })).toEqual({ images: [unused], stored: [] });
  expect(await prune({})).toEqual({ images: [unused], stored: [] });
  expect(await images()).toEqual([{ image: used, neededBy: ["listed@1"] }]);
});
