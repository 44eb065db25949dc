/** The images of a Docker daemon. */
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { askDocker, askDockerUnless, type DockerOptions, dockerClient } from "./docker-client.ts";
import { fail } from "./errors.ts";
import type { ImageStore } from "./image-store.ts";

/** Of Docker's newer store: it wants every layer in a tar. */
const CONTAINERD_STORE = "io.containerd.snapshotter.v1";

export function dockerImages(options: DockerOptions): ImageStore {
  const client = dockerClient(options);

  async function inspect(ref: string) {
    const docker = await client();
    return askDockerUnless([404], () => docker.getImage(ref).inspect());
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
      const name = found.RepoTags?.filter((tag) => tag.startsWith("fabric/")).sort((a, b) => b.length - a.length)[0];
      return (await askDocker(() => docker.getImage(name ?? ref).get())) as Readable;
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
  };
}
