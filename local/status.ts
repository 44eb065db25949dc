/** `fabric status`: what of a fabric runs on this machine. `fabric env`: how other programs reach it. */
import { clientEnvironment, type UserConfig } from "../core/user-config.ts";
import { dataDir } from "./data-dir.ts";
import { LocalFailure } from "./failure.ts";
import { isAlive } from "./identity.ts";
import type { LocalContext } from "./output.ts";
import { readRunning } from "./running.ts";
import { type LocalOptions, localConfig, withOptions } from "./settings.ts";
import { readUserConfig } from "./user-file.ts";

/** Answers false when it does not run, so that scripts can ask. */
export async function status(
  options: LocalOptions & { json?: boolean },
  { environment, output }: LocalContext,
): Promise<boolean> {
  const dir = dataDir(localConfig(withOptions(environment, options)).dataDir);
  const running = readRunning(dir);
  const up = running !== undefined && isAlive(running.supervisor);
  const processes = Object.entries(running?.children ?? {}).map(([name, who]) => ({
    name,
    pid: who.pid,
    alive: isAlive(who),
  }));
  if (options.json) {
    output.json({
      running: up,
      url: running?.facts?.url,
      engine: running?.facts?.engine,
      dataDir: dir.root,
      pid: running?.supervisor.pid,
      processes,
    });
    return up;
  }
  if (!running || !up) output.out(`no fabric is running in ${dir.root}`);
  else {
    output.out(`fabric runs at ${running.facts?.url ?? "(still starting)"}`);
    output.out(`  engine          ${running.facts?.engine ?? "?"}`);
    output.out(`  data directory  ${dir.root}`);
    output.out(`  supervisor      pid ${running.supervisor.pid}`);
    for (const { name, pid, alive } of processes)
      output.out(`  ${name.padEnd(14)}  pid ${pid}${alive ? "" : " (ended)"}`);
  }
  return up;
}

export async function env(
  options: LocalOptions & { json?: boolean },
  { environment, output }: LocalContext,
): Promise<void> {
  const variables = clientEnvironment(findClient(options, environment));
  if (options.json) output.json(variables);
  else for (const [name, value] of Object.entries(variables)) output.out(`export ${name}=${shellQuote(value)}`);
}

/** A data directory that was named decides; else the fabric that was started last. */
function findClient(options: LocalOptions, environment: NodeJS.ProcessEnv): UserConfig {
  const merged = withOptions(environment, options);
  const config = localConfig(merged);
  if (options.dataDir !== undefined || environment.FABRIC_DATA_DIR) {
    const facts = readRunning(dataDir(config.dataDir))?.facts;
    if (facts) return facts;
    throw new LocalFailure(`no fabric is running in ${config.dataDir}`, "Start it with `fabric up`.");
  }
  const user = readUserConfig(config.configFile);
  if (user) return user;
  throw new LocalFailure(`there is no ${config.configFile}`, "`fabric up` starts a fabric and writes it.");
}

export const shellQuote = (text: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
