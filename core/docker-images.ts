/** The images of a Docker daemon. */
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { askDocker, askDockerUnless, type DockerOptions, dockerClient, dockerStatus } from "./docker-client.ts";
import { fail } from "./errors.ts";
import { ownRepository, SHARED } from "./image-names.ts";
import type { ImageShelf, ImageStore } from "./image-store.ts";

/** Of Docker's newer store: it wants every layer in a tar. */
const CONTAINERD_STORE = "io.containerd.snapshotter.v1";

/** The name under which the next build finds the base of a Python. */
const CURRENT_BASE = new RegExp(`^${SHARED.base}:[0-9.]+$`);
const isShared = (tag: string): boolean => Object.values(SHARED).some((name) => tag.startsWith(`${name}:`));

export function dockerImages(options: DockerOptions & { fabric: string }): ImageStore & ImageShelf {
  const client = dockerClient(options);
  const isOwn = (tag: string): boolean => tag.startsWith(`${ownRepository(options.fabric)}:`);

  async function inspect(ref: string) {
    const docker = await client();
    return askDockerUnless([404], () => docker.getImage(ref).inspect());
  }

  /** False: a container was made from it just now. */
  async function removeName(name: string): Promise<boolean> {
    const docker = await client();
    try {
      await askDockerUnless([404], () => docker.getImage(name).remove());
      return true;
    } catch (thrown) {
      if (dockerStatus(thrown) === 409) return false;
      throw thrown;
    }
  }

  return {
    async find(ref) {
      const found = await inspect(ref);
      return found && { bytes: found.Size };
    },

    async save(ref) {
      const docker = await client();
      const found = await inspect(ref);
      if (!found) fail("image_missing", `Docker has no image ${ref}.`, { image: ref });
      // By its own name, which is then in the tar: an image without one would be Docker's to prune.
      const name = found.RepoTags?.find(isOwn) ?? ref;
      return (await askDocker(() => docker.getImage(name).get())) as Readable;
    },

    async load(tar, signal) {
      const docker = await client();
      const answer = await askDocker(() => docker.loadImage(tar, { quiet: true, abortSignal: signal }));
      for (const line of (await text(answer)).split("\n")) {
        const { error } = (line.trim() === "" ? {} : JSON.parse(line)) as { error?: string };
        if (error) fail("engine_unavailable", `Docker did not take the image in: ${error}`);
      }
    },

    async layers() {
      const docker = await client();
      const { DriverStatus } = (await askDocker(() => docker.info())) as { DriverStatus?: [string, string][] };
      if (DriverStatus?.some(([, value]) => value === CONTAINERD_STORE)) return [];
      const ids = (await askDocker(() => docker.listImages())).map(({ Id }) => Id);
      const found = await Promise.all(ids.map(inspect));
      return found.map((image) => image?.RootFS?.Layers ?? []);
    },

    async kept() {
      const docker = await client();
      const found = await askDocker(() => docker.listImages());
      return found
        .filter(({ RepoTags: tags }) => tags?.some(isOwn) && !tags.some((tag) => CURRENT_BASE.test(tag)))
        .map(({ Id, Size }) => ({ ref: Id, bytes: Size }));
    },

    async remove(ref) {
      const docker = await client();
      const using = { all: true, limit: 1, filters: { ancestor: [ref] } };
      if ((await askDocker(() => docker.listContainers(using))).length > 0) return false;
      const tags = (await inspect(ref))?.RepoTags ?? [];
      const own = tags.filter(isOwn);
      // Nobody else's. The claim goes last: what fails before is tried again.
      const shared = tags.every((tag) => isOwn(tag) || isShared(tag)) ? tags.filter(isShared) : [];
      for (const name of [...shared, ...own]) if (!(await removeName(name))) return false;
      return true;
    },
  };
}
