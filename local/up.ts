/** `fabric up`: makes a fabric run on this machine and returns when it serves; a second time it only says so. */

import { fork } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { commandName } from "../core/command-name.ts";
import { type Config, toEnvironment } from "../core/config.ts";
import { ROOT } from "../core/root.ts";
import { clientEnvironment } from "../core/user-config.ts";
import { type DataDir, dataDir, makeDataDir } from "./data-dir.ts";
import { LocalFailure } from "./failure.ts";
import { isAlive } from "./identity.ts";
import { lastLines, rotate } from "./launch.ts";
import { offerToUser } from "./offer-to-user.ts";
import { ourNode } from "./our-node.ts";
import type { LocalContext } from "./output.ts";
import { isLoopback } from "./plan.ts";
import { choosePorts, kernelPorts } from "./ports.ts";
import { checkExternalRedis } from "./redis-probe.ts";
import type { Report } from "./report.ts";
import { dropRunning, type Facts, type Running, readRunning } from "./running.ts";
import { checkExternalS3 } from "./s3-probe.ts";
import { type LocalOptions, localConfig, portWishes, withOptions } from "./settings.ts";
import { openState, saveState } from "./state.ts";
import { stopRecorded } from "./stop-recorded.ts";

export interface UpOptions extends LocalOptions {
  foreground?: boolean;
  json?: boolean;
}

export async function up(options: UpOptions, { environment, output }: LocalContext): Promise<void> {
  const merged = withOptions(environment, options);
  const config = localConfig(merged);
  const dir = dataDir(config.dataDir);
  makeDataDir(dir);
  const before = readRunning(dir);
  if (before?.facts && isAlive(before.supervisor)) {
    return tellUp(before.facts, before, options, { environment, output }, config.configFile, "is running already");
  }
  if (before && isAlive(before.supervisor))
    throw new LocalFailure(
      `a fabric is starting in ${dir.root} at this moment`,
      "`fabric status` tells when it is up.",
    );
  if (before) await clearRemains(dir, before, output);
  const started = await prepare(config, merged, dir, output);
  if (options.foreground) return foreground(started, merged, options, { environment, output });
  const facts = await startDetached(dir, { ...merged, ...started.variables }, output);
  tellUp(facts, readRunning(dir), options, { environment, output }, config.configFile, "is up");
}

/** A supervisor that was killed leaves its children behind; they would hold the ports. */
async function clearRemains(dir: DataDir, before: Running, output: LocalContext["output"]): Promise<void> {
  if (Object.values(before.children).some(isAlive)) {
    output.note("the last supervisor was killed; stopping what it left running");
    await stopRecorded(before, (name) => output.warn(`${name} did not stop by itself and was killed`));
  }
  await dropRunning(dir);
}

async function prepare(
  config: Config,
  environment: NodeJS.ProcessEnv,
  dir: DataDir,
  output: LocalContext["output"],
): Promise<{ variables: Record<string, string>; configFile: string }> {
  if (!isLoopback(config.host))
    output.warn(
      `--host ${config.host}: everyone who reaches this machine reaches fabric; only its tokens and keys protect it`,
    );
  if (config.redisUrl) await checkExternalRedis(config.redisUrl);
  if (config.s3Endpoint) await checkExternalS3(config.s3Endpoint);
  const state = openState(dir);
  const { ports, notices } = await choosePorts(portWishes(config, environment, state), kernelPorts);
  for (const notice of notices) output.note(notice);
  saveState(dir, { ...state, ports });
  const chosen = { port: ports.gateway, redisPort: ports.redis, s3Port: ports.s3, dataDir: config.dataDir };
  return { variables: toEnvironment(chosen), configFile: config.configFile };
}

/** The supervisor's own session and no terminal of ours: it outlives this process and the window it ran in. */
async function startDetached(
  dir: DataDir,
  environment: NodeJS.ProcessEnv,
  output: LocalContext["output"],
): Promise<Facts> {
  const logFile = dir.log("supervisor");
  rotate(logFile);
  const log = openSync(logFile, "a", 0o600);
  const child = fork(join(ourNode.dist, "supervisor.js"), {
    cwd: ROOT,
    env: environment,
    execPath: ourNode.command,
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  const interrupt = (): void => void child.kill("SIGTERM");
  process.once("SIGINT", interrupt);
  try {
    return await new Promise<Facts>((resolve, reject) => {
      child.on("message", (report: Report) => {
        if (report.kind === "step") output.status(report.text);
        else if (report.kind === "ready") resolve(report.facts);
        else reject(new LocalFailure(report.message, report.hint));
      });
      child.once("exit", () =>
        reject(new LocalFailure("the supervisor ended before all was ready", lastLines(logFile))),
      );
    });
  } finally {
    output.status(undefined);
    process.off("SIGINT", interrupt);
    if (child.connected) child.disconnect();
    child.unref();
  }
}

/** The supervisor's program in our own terminal: ends with Ctrl-C. */
async function foreground(
  started: { variables: Record<string, string>; configFile: string },
  environment: NodeJS.ProcessEnv,
  options: UpOptions,
  context: LocalContext,
): Promise<void> {
  const { superviseHere } = await import("./foreground.ts");
  await superviseHere({ ...environment, ...started.variables }, context.output, (facts, running) => {
    tellUp(facts, running, options, context, started.configFile, "is up; Ctrl-C stops it");
  });
}

function tellUp(
  facts: Facts,
  running: Running | undefined,
  options: UpOptions,
  { environment, output }: LocalContext,
  configFile: string,
  verb: string,
): void {
  const other = offerToUser(configFile, facts);
  for (const notice of facts.notices) output.warn(notice);
  if (options.json) {
    const alreadyRunning = verb.includes("already");
    output.json({ ...facts, pid: running?.supervisor.pid, alreadyRunning, environment: clientEnvironment(facts) });
    return;
  }
  output.out(`fabric ${verb}`);
  output.out(`  URL             ${facts.url}`);
  output.out(`  engine          ${facts.engine}`);
  output.out(`  data directory  ${facts.dataDir}`);
  output.out(`  bucket          s3://${facts.bucket} at ${facts.s3.endpoint}`);
  const fabric = commandName(environment);
  if (other === undefined)
    output.note(`next: eval "$(${fabric} env)" for curl and aws; ${fabric} deploy APP.py; ${fabric} down to stop`);
  else {
    output.note(`next: eval "$(${fabric} env --data-dir ${facts.dataDir})" to use it in this terminal`);
    output.note(`other terminals go on with the fabric in ${other}`);
  }
}
