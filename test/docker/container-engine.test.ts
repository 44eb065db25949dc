/** The docker engine against the contract, with real containers of the base image. */
import { describe, test } from "vitest";
import { dockerClient } from "../../core/docker-client.ts";
import { dockerEngine, removeDockerTraces } from "../../runner/engine/docker.ts";
import { containerEngineContract } from "../contract/container-engine.ts";
import { baseImageForTests, testIdentity, whyNoDocker } from "./fixture.ts";

const reason = await whyNoDocker();

if (reason) describe.skip("docker engine", () => test(reason, () => {}));
else
  containerEngineContract("docker engine", async () => {
    const identity = testIdentity();
    const docker = await dockerClient()();
    return {
      make: () => dockerEngine(identity),
      image: await baseImageForTests(),
      missingImage: `sha256:${"0".repeat(64)}`,
      async kill(_engine, id, signal) {
        await docker.getContainer(id).kill({ signal });
      },
      cleanUp: () => removeDockerTraces(identity),
    };
  });
