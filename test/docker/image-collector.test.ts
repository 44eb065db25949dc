/** Whose images a Docker daemon's are: fabrics that share it build each one once, and none removes what another one needs. */
import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import tar from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DockerClient, dockerClient } from "../../core/docker-client.ts";
import { dockerImages } from "../../core/docker-images.ts";
import { dockerImageBuilder } from "../../gateway/build/docker-builder.ts";
import { builderOptionsForTests, whyNoDocker } from "./fixture.ts";

const reason = await whyNoDocker();
const never = new AbortController().signal;

describe.skipIf(reason)("images of fabrics that share a daemon", () => {
  const mark = randomBytes(5).toString("hex");
  const [mine, theirs] = [`fab_${mark}_a`, `fab_${mark}_b`];
  /** Of a Python that nobody else has, so that no base of anybody's is touched. */
  const python = "3.99";
  const builderOf = (fabric: string) => dockerImageBuilder({ ...builderOptionsForTests(), fabric });
  const shelfOf = (fabric: string) => dockerImages({ fabric });
  const layers = [{ kind: "env" as const, variables: { MARK: mark } }];
  const build = async (fabric: string, spec = layers) =>
    builderOf(fabric).build({ python, layers: spec }, () => {}, never);
  const refs = async (fabric: string) => (await shelfOf(fabric).kept()).map(({ ref }) => ref);
  let docker: DockerClient;

  /** An image of nothing, that this Python's base can be. */
  async function imported(name: string, ...changes: string[]): Promise<string> {
    const pack = tar.pack();
    pack.entry({ name: "mark" }, randomBytes(8));
    pack.finalize();
    const [repo, tag] = name.split(":");
    const given = { fromSrc: "-", repo, tag, changes };
    await text(await docker.importImage(pack as unknown as NodeJS.ReadableStream, given));
    return (await docker.getImage(name).inspect()).Id;
  }

  beforeAll(async () => {
    docker = await dockerClient()();
    await imported(`python:${python}-slim`);
  });
  afterAll(async () => {
    const all = (await docker?.listImages()) ?? [];
    const names = all
      .flatMap(({ RepoTags }) => RepoTags ?? [])
      .filter((tag) => tag.includes(mark) || tag.includes(`:${python}`));
    for (const name of names) await docker.getImage(name).remove();
  });

  test("an image goes when the last fabric gives it up, and not while a container uses it", async () => {
    const first = await build(mine);
    expect(await build(theirs)).toEqual({ ref: first.ref, cached: true });
    expect(await refs(mine)).toEqual([first.ref]);

    expect(await shelfOf(mine).remove(first.ref)).toBe(true);
    expect(await refs(mine)).toEqual([]);
    expect(await build(theirs)).toEqual({ ref: first.ref, cached: true });

    const container = await docker.createContainer({ Image: first.ref, Cmd: ["x"] });
    expect(await shelfOf(theirs).remove(first.ref)).toBe(false);
    expect(await build(theirs)).toEqual({ ref: first.ref, cached: true });
    await container.remove();
    expect(await shelfOf(theirs).remove(first.ref)).toBe(true);
    expect(await shelfOf(theirs).find(first.ref)).toBeUndefined();
    expect(await shelfOf(theirs).remove(first.ref)).toBe(true);
  });

  test("a base image made in another way is replaced, and goes when nothing needs it; the current one stays", async () => {
    const old = await imported(`fabric/base:${python}`, `LABEL fabric.base=${python}`);
    const { ref, cached } = await build(mine, []);
    expect({ isOld: ref === old, cached }).toEqual({ isOld: false, cached: true });
    expect(await refs(mine)).toEqual([old]);
    await shelfOf(mine).remove(old);
    expect(await shelfOf(mine).find(old)).toBeUndefined();
    expect(await build(mine, [])).toEqual({ ref, cached: true });
  });
});
