/**
 * Names of images on a Docker daemon, which several fabrics may share. A name in a fabric's own repository is its claim: Docker
 * keeps an image as long as it has a name. The shared ones are how fabrics find what another one built.
 */
import { askDockerUnless, type DockerClient } from "./docker-client.ts";

export const SHARED = { image: "fabric/image", base: "fabric/base" } as const;

/** Docker's names are lower case, with single separators. */
export const ownRepository = (fabric: string): string =>
  `fabric/of-${fabric
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/-$/, "")}`;

/** False when the image is not there any more. */
export async function claimImage(docker: DockerClient, fabric: string, id: string, tag: string): Promise<boolean> {
  const repo = ownRepository(fabric);
  return (
    (await askDockerUnless([404], () =>
      docker
        .getImage(id)
        .tag({ repo, tag })
        .then(() => true),
    )) === true
  );
}
