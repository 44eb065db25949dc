/** `fabric down`: stops the fabric of a data directory and returns when nothing of it runs any more. */
import { dataDir } from "./data-dir.ts";
import { isAlive } from "./identity.ts";
import type { LocalContext } from "./output.ts";
import { dropRunning, readRunning } from "./running.ts";
import { type LocalOptions, localConfig, withOptions } from "./settings.ts";
import { stopRecorded } from "./stop-recorded.ts";

export async function down(
  options: LocalOptions & { json?: boolean },
  { environment, output }: LocalContext,
): Promise<void> {
  const dir = dataDir(localConfig(withOptions(environment, options)).dataDir);
  const running = readRunning(dir);
  const alive = running ? [running.supervisor, ...Object.values(running.children)].filter(isAlive) : [];
  if (!running || alive.length === 0) {
    await dropRunning(dir);
    if (options.json) output.json({ stopped: false, dataDir: dir.root });
    else output.out(`no fabric is running in ${dir.root}`);
    return;
  }
  output.status("stopping; running functions get their time to end");
  const forced: string[] = [];
  await stopRecorded(running, (name) => forced.push(name));
  output.status(undefined);
  await dropRunning(dir);
  for (const name of forced) output.warn(`${name} did not stop by itself and was killed`);
  if (options.json) output.json({ stopped: true, dataDir: dir.root, killed: forced });
  else output.out(`fabric is down; its data stay in ${dir.root}`);
}
