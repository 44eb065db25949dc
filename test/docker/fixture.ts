/** What the suites with real containers share: is there a daemon, which base image, and an engine with a name of its own. */
import { randomBytes } from "node:crypto";
import { askDocker, dockerClient } from "../../core/docker-client.ts";
import type { ContainerSpec } from "../../core/engine.ts";
import type { DockerEngineOptions } from "../../runner/engine/docker.ts";

/** Why docker suites cannot run here, or undefined; printed, so that a skip is never silent. */
export async function whyNoDocker(): Promise<string | undefined> {
  try {
    const docker = await dockerClient()();
    await askDocker(() => docker.ping());
    return undefined;
  } catch (thrown) {
    const reason = `no Docker daemon answers: ${thrown instanceof Error ? thrown.message : thrown}`;
    console.warn(`SKIPPED: ${reason}`);
    return reason;
  }
}

export const testIdentity = (): Pick<DockerEngineOptions, "fabric" | "node"> => ({
  fabric: `fab_test${randomBytes(5).toString("hex")}`,
  node: "nod_test",
});

export type SpecChanges = Partial<ContainerSpec>;

export async function baseImageForTests(): Promise<string> {
  const docker = await dockerClient()();
  return (await docker.getImage("fabric/base:3.11").inspect()).Id;
}
