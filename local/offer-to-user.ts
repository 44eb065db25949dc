/** Which fabric of this machine the command line and the SDKs speak to: the one that the user's config file names. */
import { parseUserConfig, type UserConfig } from "../core/user-config.ts";
import { dataDir, readIfThere } from "./data-dir.ts";
import { isAlive } from "./identity.ts";
import { type Facts, readRunning } from "./running.ts";
import { writeUserConfig } from "./user-file.ts";

/** A second fabric must not take the user's commands away from a first one that is running: its folder is answered. */
export function offerToUser(path: string, facts: Facts): string | undefined {
  const other = parseUserConfig(readIfThere(path) ?? "")?.dataDir;
  if (other !== undefined && other !== facts.dataDir && isRunning(other)) return other;
  writeUserConfig(path, forUser(facts));
  return undefined;
}

function isRunning(root: string): boolean {
  const running = readRunning(dataDir(root));
  return running !== undefined && isAlive(running.supervisor);
}

const forUser = ({ url, token, bucket, dataDir, s3 }: Facts): UserConfig => ({ url, token, bucket, dataDir, s3 });
