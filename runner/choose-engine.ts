/** Picks the engine: Docker where a daemon answers or is asked for, otherwise plain processes, and says so loudly. */
import type { Config } from "../core/config.ts";
import type { ContainerEngine, EngineReport } from "../core/engine.ts";
import { asFabricError, fail } from "../core/errors.ts";
import type { NodeIdentity } from "./container-plan.ts";
import { dockerEngine } from "./engine/docker.ts";
import { processEngine } from "./engine/process.ts";

export interface ChosenEngine {
  engine: ContainerEngine;
  report: EngineReport;
}

const prepared = async (engine: ContainerEngine): Promise<ChosenEngine> => ({ engine, report: await engine.prepare() });

export async function chooseEngine(config: Config, { fabric, node }: NodeIdentity): Promise<ChosenEngine> {
  if (!["auto", "docker", "process"].includes(config.engine))
    fail("bad_request", `FABRIC_ENGINE=${config.engine} is none of docker, process and auto`);
  const processes = (): Promise<ChosenEngine> => prepared(processEngine({ dataDir: config.dataDir }));
  if (config.engine === "process") return processes();
  const docker = dockerEngine({
    fabric,
    node,
    dockerHost: config.dockerHost || undefined,
    runtime: config.dockerRuntime || undefined,
    allow: config.egressAllow.split(",").filter((range) => range !== ""),
    allowOpenEgress: config.openEgress === "yes",
  });
  try {
    return await prepared(docker);
  } catch (thrown) {
    if (config.engine === "docker" || asFabricError(thrown).code !== "engine_unavailable") throw thrown;
    return processes();
  }
}
