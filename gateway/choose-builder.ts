/** Picks what builds images: Docker where a daemon answers or is asked for, otherwise venvs on this machine. */
import { fileURLToPath } from "node:url";
import type { Config } from "../core/config.ts";
import { askDocker, dockerClient } from "../core/docker-client.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { ImageBuilder } from "../core/image-builder.ts";
import { prepareSdkDir } from "../core/sdk-dir.ts";
import { dockerImageBuilder } from "./build/docker-builder.ts";

const SDK = fileURLToPath(new URL("../sdk/python/src", import.meta.url));

export async function chooseBuilder(config: Config): Promise<ImageBuilder> {
  const { dataDir, dockerHost, buildNetwork } = config;
  const settings = {
    dataDir,
    caBundle: config.caBundle || undefined,
    pipIndexUrl: config.pipIndexUrl || undefined,
  };
  const sdkDir = () => prepareSdkDir({ ...settings, source: SDK });
  if (!["auto", "docker", "process"].includes(config.engine))
    fail("bad_request", `FABRIC_ENGINE=${config.engine} is none of docker, process and auto`);
  if (config.engine === "docker" || (config.engine === "auto" && (await dockerAnswers(dockerHost))))
    return dockerImageBuilder({ ...settings, sdkDir, dockerHost: dockerHost || undefined, buildNetwork });
  const { processImageBuilder } = await import("./build/process-builder.ts");
  return processImageBuilder({ ...settings, sdkDir });
}

async function dockerAnswers(dockerHost: string): Promise<boolean> {
  const docker = await dockerClient({ dockerHost })();
  try {
    await askDocker(() => docker.ping());
    return true;
  } catch (error) {
    if (asFabricError(error).code === "engine_unavailable") return false;
    throw error;
  }
}
