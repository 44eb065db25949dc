/** Images on their way from one Docker daemon to another through a bucket. */
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import pino from "pino";
import tar from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { type DockerClient, dockerClient } from "../../core/docker-client.ts";
import { dockerImages } from "../../core/docker-images.ts";
import { imageIndexKey } from "../../core/image-index.ts";
import { ownRepository } from "../../core/image-names.ts";
import type { ImageStore } from "../../core/image-store.ts";
import type { ObjectStore } from "../../core/object-store.ts";
import type { StateStore } from "../../core/state-store.ts";
import { keepSharing } from "../../gateway/share-images.ts";
import { storeImage } from "../../gateway/store-image.ts";
import { fetchImage } from "../../runner/fetch-image.ts";
import { createImages } from "../../runner/images.ts";
import { startDockerd, type TestDockerd, whyNoDockerd } from "../support/dockerd.ts";
import { startRedis, type TestRedis, until } from "../support/redis.ts";
import { startTestS3, type TestS3 } from "../support/s3.ts";
import { connectState } from "../support/state.ts";
import { whyNoDocker } from "./fixture.ts";

const never = new AbortController().signal;
const LAYER_BYTES = 400_000;
const ABSENT = `sha256:${"0".repeat(64)}`;

const reason = (await whyNoDocker()) ?? (await whyNoDockerd());
if (reason) console.warn(`SKIPPED: ${reason}`);

describe.skipIf(reason)(`images between nodes${reason ? ` (${reason})` : ""}`, () => {
  const mark = randomBytes(6).toString("hex");
  const fabric = `test-${mark}`;
  const here = dockerImages({ fabric });
  let docker: DockerClient;
  let dockerd: TestDockerd;
  let there: ImageStore;
  let s3: TestS3;
  let redis: TestRedis;
  let state: StateStore;
  let objects: ObjectStore;
  /** One has the other's layer below its own. */
  let below: string;
  let above: string;

  beforeAll(async () => {
    docker = await dockerClient()();
    [dockerd, s3, redis] = await Promise.all([startDockerd([]), startTestS3(), startRedis()]);
    there = dockerImages({ dockerHost: dockerd.host, fabric });
    objects = await s3.objects();
    state = await connectState({ url: redis.url, prefix: "t", recordTtlSeconds: 600 });
    below = await imported(`${ownRepository(fabric)}:below`);
    above = await built(
      `${ownRepository(fabric)}:above`,
      `FROM ${ownRepository(fabric)}:below\nCOPY large /above\nCMD ["x"]\n`,
    );
  });
  afterAll(async () => {
    for (const name of ["above", "below"]) await docker?.getImage(`${ownRepository(fabric)}:${name}`).remove();
    await state?.close();
    await Promise.all([dockerd?.close(), s3?.close(), redis?.close()]);
  });

  const packed = (...files: [string, Buffer | string][]): Readable => {
    const pack = tar.pack();
    for (const [name, content] of files) pack.entry({ name }, content);
    pack.finalize();
    return pack as unknown as Readable;
  };

  async function imported(name: string): Promise<string> {
    const [repo, tag] = name.split(":");
    await text(await docker.importImage(packed(["below", randomBytes(LAYER_BYTES)]), { fromSrc: "-", repo, tag }));
    return (await docker.getImage(name).inspect()).Id;
  }

  async function built(name: string, dockerfile: string): Promise<string> {
    const context = packed(["Dockerfile", dockerfile], ["large", randomBytes(LAYER_BYTES)]);
    await text(await docker.buildImage(context, { t: name, version: "2" } as { t: string }));
    return (await docker.getImage(name).inspect()).Id;
  }

  const keys = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const entry of objects.list("images/")) if (entry.kind === "object") found.push(entry.key);
    return found;
  };
  const stored = async (ref: string): Promise<void> => storeImage({ objects, images: here }, ref, () => {}, never);
  const fetched = async (ref: string): Promise<{ whole: boolean; bytes: number }> => {
    let bytes = 0;
    const hear = ({ total }: { total: number }): void => {
      bytes = total;
    };
    return { whole: await fetchImage({ objects, images: there }, ref, hear, never), bytes };
  };
  const isThere = async (ref: string): Promise<boolean> => (await there.find(ref)) !== undefined;

  test("layers travel once: into the bucket, and to a node that has them already", async () => {
    await stored(above);
    const layers = (await keys()).filter((key) => key.startsWith("images/layers/"));
    expect(layers).toHaveLength(2);
    await stored(above);
    expect(await keys()).toEqual([imageIndexKey(above), ...layers]);

    expect(await isThere(above)).toBe(false);
    const first = await fetched(above);
    expect(first.whole && first.bytes > 2 * LAYER_BYTES).toBe(true);
    expect(await dockerd.docker("image", "inspect", "-f", "{{.Id}} {{.RepoTags}}", above)).toBe(
      `${above} [${ownRepository(fabric)}:above]`,
    );
    await stored(below);
    expect(await fetched(below)).toEqual({ whole: true, bytes: 0 });
    await dockerd.docker("rmi", above);
    const second = await fetched(above);
    expect(second.whole && second.bytes > LAYER_BYTES && second.bytes < 1.5 * LAYER_BYTES).toBe(true);
    await dockerd.docker("rmi", above, below);
  });

  test.each<[string, (key: string) => Promise<unknown>]>([
    ["missing", (key) => objects.delete(key)],
    ["cut off", async (key) => objects.put(key, (await bytesOf(key)).subarray(0, 200_000))],
    ["altered", async (key) => objects.put(key, (await bytesOf(key)).fill(7, 100_000, 100_100))],
  ])("an image with a layer that is %s counts as absent, and is brought anew", async (_what, damage) => {
    await objects.deletePrefix("images/");
    await stored(above);
    await damage((await keys()).find((key) => key.startsWith("images/layers/"))!);
    expect((await fetched(above)).whole).toBe(false);
    expect(await isThere(above)).toBe(false);
    expect(await keys()).not.toContain(imageIndexKey(above));
    await stored(above);
    expect((await fetched(above)).whole).toBe(true);
    await dockerd.docker("rmi", above);
  });

  async function bytesOf(key: string): Promise<Buffer> {
    const object = await objects.get(key);
    return Buffer.concat(await object!.body.toArray());
  }

  test("a node asks, one of two gateways that have it answers, and all who wait share one fetch", async () => {
    await objects.deletePrefix("images/");
    let saves = 0;
    const counting: ImageStore = {
      ...here,
      async save(ref) {
        saves++;
        return here.save(ref);
      },
    };
    const log = pino({ level: "silent" });
    const gateway = (owner: string, images: ImageStore) =>
      keepSharing({ state, objects, images, owner, clock: systemClock, log });
    const said = new Set<string | undefined>();
    let news = 0;
    const times = { wantedMs: 100, askEveryMs: 100, goneAfterMs: 500 };
    const images = createImages({ state, objects, images: there, log, onFetched: () => news++, times });
    const lacking = async (): Promise<string | undefined> => {
      const [one, other] = await Promise.all([images.lacking(above), images.lacking(above)]);
      said.add(one);
      expect(other).toBe(one);
      return one;
    };
    expect(await lacking()).toBe("the image is not on this node yet");
    const noGateway = "fetching the image: no gateway gives it so far";
    await until(async () => (await lacking()) === noGateway, 10_000, "it asks");

    const stops = await Promise.all([gateway("a", counting), gateway("b", counting), gateway("c", there)]);
    await until(async () => (await lacking()) === undefined, 20_000, "the image is here");
    expect(await isThere(above)).toBe(true);
    expect({ saves, news }).toEqual({ saves: 1, news: 1 });

    // What no gateway has: nothing is in the way of the start any more, which says that the image is missing.
    await images.lacking(ABSENT);
    await until(async () => (await images.lacking(ABSENT)) === undefined, 20_000, "it is known to be nowhere");
    images.close();
    await Promise.all(stops.map((stop) => stop()));
  });
});
