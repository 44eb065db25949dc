/** The supervisor as a process of its own: `fabric up` starts it detached, hears over IPC how it went, and lets go of it. */
import { once } from "node:events";
import { systemClock } from "../core/clock.ts";
import { loadConfig } from "../core/config.ts";
import { createLog } from "../core/log.ts";
import { ROOT } from "../core/root.ts";
import { dataDir } from "./data-dir.ts";
import { LocalFailure } from "./failure.ts";
import { launcher } from "./launch.ts";
import { ourNode } from "./our-node.ts";
import type { Report } from "./report.ts";
import { serving } from "./serving.ts";
import { openState } from "./state.ts";
import { supervise } from "./supervise.ts";

const config = loadConfig();
const dir = dataDir(config.dataDir);
const state = openState(dir);
const log = createLog("supervisor", config.logLevel);

const tell = (report: Report): Promise<void> =>
  new Promise((resolve) => {
    if (process.connected) process.send?.(report, () => resolve());
    else resolve();
  });

// The terminal that started us may close.
process.on("SIGHUP", () => log.info("terminal closed; going on"));
const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());

try {
  const supervision = await supervise(
    {
      config,
      state,
      ports: { gateway: config.port, redis: config.redisPort, s3: config.s3Port },
      node: ourNode,
    },
    {
      dir,
      log,
      serving,
      launch: launcher(process.env, ROOT),
      clock: systemClock,
      onStep: (text) => void tell({ kind: "step", text }),
    },
  );
  await tell(
    stop.signal.aborted
      ? { kind: "failed", message: "interrupted while starting; stopped again" }
      : { kind: "ready", facts: supervision.facts },
  );
  if (process.connected) process.disconnect();
  if (!stop.signal.aborted) await once(stop.signal, "abort");
  log.info("stopping");
  await supervision.stop();
} catch (error) {
  log.error({ err: error }, "start failed");
  const hint = error instanceof LocalFailure ? error.hint : undefined;
  await tell({ kind: "failed", message: error instanceof Error ? error.message : String(error), hint });
  process.exitCode = 1;
}
if (process.connected) process.disconnect();
