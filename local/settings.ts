/** Options of the local commands as configuration: a flag is the same as its variable, given for one command. */
import { resolve } from "node:path";
import { type Config, loadConfig, SETTINGS } from "../core/config.ts";
import type { PortWish } from "./ports.ts";
import type { LocalState } from "./state.ts";

export interface LocalOptions {
  engine?: string;
  dataDir?: string;
  host?: string;
  port?: string;
  redisPort?: string;
  s3Port?: string;
}

const ENGINES = ["auto", "docker", "process"];

export function withOptions(environment: NodeJS.ProcessEnv, options: LocalOptions): NodeJS.ProcessEnv {
  const merged = { ...environment };
  const put = (name: keyof typeof SETTINGS, value: string | undefined): void => {
    if (value !== undefined) merged[SETTINGS[name].variable] = value;
  };
  put("engine", options.engine);
  put("dataDir", options.dataDir === undefined ? undefined : resolve(options.dataDir));
  put("host", options.host);
  put("port", options.port);
  put("redisPort", options.redisPort);
  put("s3Port", options.s3Port);
  return merged;
}

export function localConfig(environment: NodeJS.ProcessEnv): Config {
  const config = loadConfig(environment);
  if (!ENGINES.includes(config.engine))
    throw new UsageError(`engine '${config.engine}' is none of ${ENGINES.join(", ")}`);
  for (const port of [config.port, config.redisPort, config.s3Port])
    if (!Number.isInteger(port) || port > 65_535) throw new UsageError(`${port} is not a port number (0 to 65535)`);
  return { ...config, dataDir: resolve(config.dataDir) };
}

/** What was typed is wrong; the command line answers with its usage exit code. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The ports of processes we start: a named one is taken as it is, else that of the last start, else the default. */
export function portWishes(config: Config, environment: NodeJS.ProcessEnv, state: LocalState): PortWish[] {
  const wish = (name: PortWish["name"], setting: "port" | "redisPort" | "s3Port", host: string, flag: string) => {
    const explicit = (environment[SETTINGS[setting].variable] ?? "") !== "";
    return { name, explicit, host, flag, port: explicit ? config[setting] : (state.ports?.[name] ?? config[setting]) };
  };
  return [
    wish("gateway", "port", config.host, "--port"),
    ...(config.redisUrl === "" ? [wish("redis", "redisPort", "127.0.0.1", "--redis-port")] : []),
    ...(config.s3Endpoint === "" ? [wish("s3", "s3Port", config.host, "--s3-port")] : []),
  ];
}
