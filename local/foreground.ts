/** The supervisor inside the process of `fabric up --foreground`, for containers, systemd units and debugging. */
import { systemClock } from "../core/clock.ts";
import { loadConfig } from "../core/config.ts";
import { createLog } from "../core/log.ts";
import { ROOT } from "../core/root.ts";
import { dataDir } from "./data-dir.ts";
import { launcher } from "./launch.ts";
import { ourNode } from "./our-node.ts";
import type { Output } from "./output.ts";
import { type Facts, type Running, readRunning } from "./running.ts";
import { serving } from "./serving.ts";
import { openState } from "./state.ts";
import { supervise } from "./supervise.ts";

export async function superviseHere(
  environment: NodeJS.ProcessEnv,
  output: Output,
  onReady: (facts: Facts, running: Running | undefined) => void,
): Promise<void> {
  const config = loadConfig(environment);
  const dir = dataDir(config.dataDir);
  const stopRequested = new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  const supervision = await supervise(
    {
      config,
      state: openState(dir),
      ports: { gateway: config.port, redis: config.redisPort, s3: config.s3Port },
      node: ourNode,
    },
    {
      dir,
      serving,
      log: createLog("supervisor", config.logLevel),
      launch: launcher(environment, ROOT),
      clock: systemClock,
      onStep: (text) => output.status(text),
    },
  );
  output.status(undefined);
  onReady(supervision.facts, readRunning(dir));
  await stopRequested;
  output.note("stopping");
  await supervision.stop();
}
