/** `fabric down`: stops the fabric of a data directory and returns when nothing of it runs any more. */
import type { Config } from "../core/config.ts";
import { clearContainers } from "./clear-containers.ts";
import { type DataDir, dataDir } from "./data-dir.ts";
import { isAlive } from "./identity.ts";
import { ourNode } from "./our-node.ts";
import type { LocalContext } from "./output.ts";
import { dropRunning, readRunning } from "./running.ts";
import { type LocalOptions, localConfig, withOptions } from "./settings.ts";
import { readState } from "./state.ts";
import { stopRecorded } from "./stop-recorded.ts";

export async function down(
  options: LocalOptions & { json?: boolean },
  { environment, output }: LocalContext,
): Promise<void> {
  const config = localConfig(withOptions(environment, options));
  const dir = dataDir(config.dataDir);
  const running = readRunning(dir);
  const alive = running ? [running.supervisor, ...Object.values(running.children)].filter(isAlive) : [];
  if (!running || alive.length === 0) {
    if (running) await clear(dir, config, output);
    await dropRunning(dir);
    if (options.json) output.json({ stopped: false, dataDir: dir.root });
    else output.out(`no fabric is running in ${dir.root}`);
    return;
  }
  output.status("stopping; running functions get their time to end");
  const supervised = isAlive(running.supervisor);
  const forced: string[] = [];
  await stopRecorded(running, (name) => forced.push(name));
  // A supervisor that ended by itself has done this as its last act.
  if (!supervised || forced.length > 0) await clear(dir, config, output);
  output.status(undefined);
  await dropRunning(dir);
  for (const name of forced) output.warn(`${name} did not stop by itself and was killed`);
  if (options.json) output.json({ stopped: true, dataDir: dir.root, killed: forced });
  else output.out(`fabric is down; its data stay in ${dir.root}`);
}

async function clear(dir: DataDir, config: Config, output: LocalContext["output"]): Promise<void> {
  const state = readState(dir);
  if (!state) return;
  const ports = state.ports ?? { gateway: config.port, redis: config.redisPort, s3: config.s3Port };
  const removed = await clearContainers({ config, state, ports, node: ourNode });
  if (removed.length > 0) output.note(`removed ${removed.length} containers that a killed runner had left`);
}
