/** Picks the engine: Docker where a daemon answers or is asked for, otherwise plain processes, which its notices say loudly. */
import type { ContainerEngine, EngineReport } from "../core/engine.ts";
import { asFabricError, fail } from "../core/errors.ts";

export interface ChosenEngine {
  engine: ContainerEngine;
  report: EngineReport;
}

const prepared = async (engine: ContainerEngine): Promise<ChosenEngine> => ({ engine, report: await engine.prepare() });

export async function chooseEngine(
  wanted: string,
  make: { docker(): ContainerEngine; process(): ContainerEngine },
): Promise<ChosenEngine> {
  if (!["auto", "docker", "process"].includes(wanted))
    fail("bad_request", `FABRIC_ENGINE=${wanted} is none of docker, process and auto`);
  if (wanted === "process") return prepared(make.process());
  try {
    return await prepared(make.docker());
  } catch (thrown) {
    if (wanted === "docker" || asFabricError(thrown).code !== "engine_unavailable") throw thrown;
    return prepared(make.process());
  }
}
