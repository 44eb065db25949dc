/** What the suites with real containers share: is there a daemon, the base image, and names of their own. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askDocker, dockerClient } from "../../core/docker-client.ts";
import { type DockerImageBuilderOptions, dockerImageBuilder } from "../../gateway/build/docker-builder.ts";
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

/** Networks whose TLS passes through a proxy have its CA here; elsewhere the bundle is the usual one. */
const CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";

export const builderOptionsForTests = (): DockerImageBuilderOptions => ({
  dataDir: join(tmpdir(), "fabric-test-builder"),
  ...(existsSync(CA_BUNDLE) ? { caBundle: CA_BUNDLE } : {}),
});

export async function baseImageForTests(): Promise<string> {
  const builder = dockerImageBuilder(builderOptionsForTests());
  const { ref } = await builder.build(
    { python: "3.11", layers: [] },
    ({ text }) => console.log(text),
    new AbortController().signal,
  );
  return ref;
}

/** Runs one command in an image and gives its output. */
export async function runIn(image: string, command: string[]): Promise<{ code: number; output: string }> {
  const docker = await dockerClient()();
  const container = await docker.createContainer({
    Image: image,
    Cmd: command,
    Tty: true,
    HostConfig: { NetworkMode: "none" },
  });
  try {
    await container.start();
    const { StatusCode: code } = (await container.wait()) as { StatusCode: number };
    const output = (await container.logs({ stdout: true, stderr: true, follow: false })).toString("utf8");
    return { code, output: output.replaceAll("\r\n", "\n") };
  } finally {
    await container.remove({ force: true });
  }
}
