/** What a command is given: the terminal, the configuration, and a client of the fabric it speaks to. */
import { readFileSync } from "node:fs";
import { type Config, loadConfig } from "../../core/config.ts";
import { fail } from "../../core/errors.ts";
import { parseUserConfig, type UserConfig } from "../../core/user-config.ts";
import { type Client, createClient } from "../typescript/client.ts";
import type { Connection } from "../typescript/http.ts";
import type { Terminal } from "./terminal.ts";

export interface Context {
  terminal: Terminal;
  environment: NodeJS.ProcessEnv;
  /** Ctrl-C. */
  signal: AbortSignal;
  connection(): Connection;
  client(): Client;
}

/** A command line that makes no sense; ends with the usage exit code. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export function createContext(terminal: Terminal, environment: NodeJS.ProcessEnv, signal: AbortSignal): Context {
  const connection = (): Connection => findConnection(loadConfig(environment));
  return { terminal, environment, signal, connection, client: () => createClient(connection()) };
}

/** The file's token goes only to the file's URL, never to one that FABRIC_URL names. */
function findConnection(config: Config): Connection {
  if (config.url && !(/^https?:\/\//.test(config.url) && URL.canParse(config.url)))
    throw new UsageError(`FABRIC_URL is '${config.url}'; it must be a URL such as http://127.0.0.1:7700`);
  if (config.url && config.token) return { url: config.url, token: config.token };
  const user = readUserConfig(config.configFile);
  const url = config.url || user?.url;
  if (!url)
    fail("fabric_unreachable", `FABRIC_URL is not set and there is no ${config.configFile}. Start one: fabric up`);
  const token = config.token || (user?.url === url ? user.token : "");
  if (!token) fail("unauthorized", `FABRIC_TOKEN is not set, and ${config.configFile} knows no token for ${url}.`);
  return { url, token };
}

function readUserConfig(path: string): UserConfig | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  return parseUserConfig(text) ?? fail("bad_request", `${path} is damaged. Delete it; fabric up writes it again.`);
}
